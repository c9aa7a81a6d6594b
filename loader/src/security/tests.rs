//! Who may do what: policies, actors, actions and resources against what must come of them.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use registry_schema::{EntryId, ErrorKind};
use serde_json::{Value, json};

use super::testing::{Opened, open, open_with_log};
use super::{Actor, Decision, Policy, Scope};
use crate::config::{POLICY_REGEX_TEXT_BYTES_MAX, SECURITY_META_BYTES_MAX};
use crate::context::Context;
use crate::data::Data;
use crate::guest_log::{GuestLog, Stream};

use Decision::{Allow, Deny, Undefined};

fn id(text: &str) -> EntryId {
    text.parse().unwrap()
}

fn actor(name: &str, meta: &Value) -> Actor {
    Actor::new(name, Data::from(meta)).unwrap()
}

/// The rule as a policy in a bundle of its own.
fn policy(rule: &Value) -> Arc<Policy> {
    let Opened { loader, .. } = open(json!({}), &[("app:p", "security.policy", json!({"policy": rule}))]);
    loader.policy(&id("app:p")).unwrap()
}

/// A policy of one condition, for everything.
fn conditional(effect: &str, condition: &Value) -> Arc<Policy> {
    policy(&json!({"actions": "*", "resources": "*", "effect": effect, "conditions": [condition]}))
}

/// The policies of the public page.
fn documented() -> Opened {
    let rule = |rule: Value, groups: Value| json!({"policy": rule, "groups": groups});
    open(
        json!({}),
        &[
            (
                "app.security:admin_policy",
                "security.policy",
                rule(
                    json!({"actions": "*", "resources": "*", "effect": "allow", "conditions": [
                        {"field": "actor.meta.role", "operator": "eq", "value": "admin"}
                    ]}),
                    json!(["admin"]),
                ),
            ),
            (
                "app.security:readonly_policy",
                "security.policy",
                rule(
                    json!({"actions": ["*.read", "*.get", "*.list"], "resources": "*", "effect": "allow"}),
                    json!(["default"]),
                ),
            ),
            (
                "app.security:owner_policy",
                "security.policy",
                rule(
                    json!({
                        "actions": ["read", "write", "delete"],
                        "resources": "document:*",
                        "effect": "allow",
                        "conditions": [{"field": "meta.owner", "operator": "eq", "value_from": "actor.id"}]
                    }),
                    json!(["default"]),
                ),
            ),
            (
                "app.security:deny_confidential",
                "security.policy",
                rule(
                    json!({"actions": "*", "resources": "document:*", "effect": "deny", "conditions": [
                        {"field": "meta.classification", "operator": "eq", "value": "confidential"},
                        {"field": "actor.meta.clearance", "operator": "lt", "value": 3}
                    ]}),
                    json!(["security"]),
                ),
            ),
        ],
    )
}

#[test]
fn the_documented_policies_decide_as_documented() {
    let Opened { loader, .. } = documented();
    let group = |name: &str| loader.policy_group(&id(&format!("app.security:{name}"))).unwrap();
    let everything: Scope =
        ["admin", "default", "security"].iter().flat_map(|name| group(name).policies().to_vec()).collect();
    assert_eq!(everything.policies().len(), 4);
    let admin = actor("user:1", &json!({"role": "admin", "clearance": 3}));
    let low = actor("user:2", &json!({"role": "admin", "clearance": 2}));
    let bare = actor("user:3", &json!({}));
    let none = json!({});
    let own = json!({"owner": "user:3"});
    let secret = json!({"owner": "user:3", "classification": "confidential"});
    for (actor, action, resource, meta, expected) in [
        (&admin, "delete", "user:9", &none, Allow),
        (&admin, "delete", "document:1", &secret, Allow),
        (&low, "delete", "document:1", &none, Allow),
        (&low, "delete", "document:1", &secret, Deny),
        (&bare, "users.read", "anything", &none, Allow),
        (&bare, "read", "anything", &none, Undefined),
        (&bare, "read", "document:1", &none, Undefined),
        (&bare, "read", "document:1", &own, Allow),
        (&bare, "archive", "document:1", &own, Undefined),
        (&bare, "read", "folder:1", &own, Undefined),
        // Nobody said how far an actor without a clearance may see.
        (&bare, "read", "document:1", &secret, Deny),
        (&low, "read", "document:1", &own, Allow),
    ] {
        let found = everything.evaluate(Some(actor), action, resource, &Data::from(meta));
        assert_eq!(found, expected, "{} {action} {resource} {meta}", actor.id());
    }
    let found = group("admin").evaluate(Some(&bare), "delete", "user:123", &Data::Nil);
    assert_eq!(found, Undefined);
}

#[test]
fn every_operator() {
    let meta = json!({
        "text": "report.pdf", "int": 5, "float": 2.5, "yes": true, "no": false, "empty": "",
        "tags": ["a", "b"], "numbers": [1, 2], "map": {"deep": {"deeper": "x"}}, "digits": "5",
        "null": null, "none": []
    });
    let meta = Data::from(&meta);
    let subject = actor("user:1", &json!({"team": "blue", "level": 5, "profile": {"site": "b"}}));
    // What the condition is: `Some` where it can be decided.
    for (field, operator, value, expected) in [
        ("meta.text", "eq", json!("report.pdf"), Some(true)),
        ("meta.text", "eq", json!("REPORT.PDF"), Some(false)),
        ("meta.int", "eq", json!(5), Some(true)),
        ("meta.int", "eq", json!(5.0), Some(true)),
        ("meta.int", "eq", json!("5"), None),
        ("meta.digits", "eq", json!(5), None),
        ("meta.digits", "eq", json!("5"), Some(true)),
        ("meta.yes", "eq", json!(true), Some(true)),
        ("meta.no", "eq", json!(false), Some(true)),
        ("meta.null", "eq", json!(false), Some(false)),
        ("meta.gone", "eq", json!("x"), Some(false)),
        ("meta.map", "eq", json!("x"), None),
        ("meta.text", "ne", json!("report.pdf"), Some(false)),
        ("meta.text", "ne", json!("x"), Some(true)),
        ("meta.gone", "ne", json!("x"), Some(true)),
        ("meta.tags", "ne", json!("x"), None),
        ("meta.int", "lt", json!(6), Some(true)),
        ("meta.int", "lt", json!(5), Some(false)),
        ("meta.float", "lt", json!(3), Some(true)),
        ("meta.text", "lt", json!("s"), Some(true)),
        ("meta.text", "lt", json!(1), None),
        ("meta.gone", "lt", json!(1), None),
        ("meta.yes", "lt", json!(1), None),
        ("meta.int", "gt", json!(4), Some(true)),
        ("meta.int", "gt", json!(4.99), Some(true)),
        ("meta.gone", "gt", json!(4), None),
        ("meta.int", "lte", json!(5), Some(true)),
        ("meta.int", "lte", json!(4), Some(false)),
        ("meta.int", "gte", json!(5), Some(true)),
        ("meta.int", "gte", json!(6), Some(false)),
        ("meta.text", "in", json!(["x", "report.pdf"]), Some(true)),
        ("meta.text", "in", json!(["x", 1, true]), Some(false)),
        ("meta.text", "in", json!([]), Some(false)),
        ("meta.int", "in", json!([4, 5]), Some(true)),
        ("meta.int", "in", json!(5), Some(true)),
        ("meta.tags", "in", json!(["a", "b"]), None),
        ("meta.gone", "in", json!(["x"]), Some(false)),
        ("meta.text", "nin", json!(["x"]), Some(true)),
        ("meta.text", "nin", json!(["report.pdf"]), Some(false)),
        ("meta.gone", "nin", json!(["x"]), Some(true)),
        ("meta.tags", "nin", json!(["c"]), None),
        ("meta.text", "exists", json!(true), Some(true)),
        ("meta.no", "exists", json!("true"), Some(true)),
        ("meta.empty", "exists", json!(true), Some(true)),
        ("meta.null", "exists", json!(true), Some(false)),
        ("meta.gone", "exists", json!(true), Some(false)),
        ("meta.map.deep.deeper", "exists", json!(true), Some(true)),
        ("meta.map.deep.deeper.deepest", "exists", json!(true), Some(false)),
        ("meta.gone", "nexists", json!(true), Some(true)),
        ("meta.text", "nexists", json!(true), Some(false)),
        ("meta.text", "contains", json!("port"), Some(true)),
        ("meta.text", "contains", json!("Port"), Some(false)),
        ("meta.tags", "contains", json!("b"), Some(true)),
        ("meta.tags", "contains", json!("c"), Some(false)),
        ("meta.none", "contains", json!("c"), Some(false)),
        ("meta.numbers", "contains", json!(2), Some(true)),
        ("meta.numbers", "contains", json!("2"), None),
        ("meta.map", "contains", json!("deep"), None),
        ("meta.int", "contains", json!("5"), None),
        ("meta.gone", "contains", json!("x"), Some(false)),
        ("meta.text", "ncontains", json!("x"), Some(true)),
        ("meta.gone", "ncontains", json!("x"), Some(true)),
        ("meta.text", "matches", json!("^rep.*\\.pdf$"), Some(true)),
        ("meta.text", "matches", json!("^pdf"), Some(false)),
        ("meta.text", "matches", json!("(?i)PORT"), Some(true)),
        ("meta.int", "matches", json!("5"), None),
        ("meta.gone", "matches", json!(".*"), Some(false)),
        ("meta.text", "nmatches", json!("^x"), Some(true)),
        ("meta.gone", "nmatches", json!("^x"), Some(true)),
        ("actor.id", "eq", json!("user:1"), Some(true)),
        ("actor.id", "nmatches", json!("^system:.*"), Some(true)),
        ("actor.meta.profile.site", "eq", json!("b"), Some(true)),
        ("actor.meta.level", "gte", json!(5), Some(true)),
        ("action", "in", json!(["read", "write"]), Some(true)),
        ("resource", "matches", json!("^doc:.*"), Some(true)),
        ("resource", "contains", json!("sensitive"), Some(false)),
    ] {
        let condition = json!({"field": field, "operator": operator, "value": value});
        check(&condition, &subject, &meta, expected);
    }
    for (field, operator, other, expected) in [
        ("meta.int", "eq", "actor.meta.level", Some(true)),
        ("meta.text", "eq", "actor.id", Some(false)),
        ("meta.gone", "eq", "actor.meta.gone", Some(false)),
        ("meta.gone", "ne", "actor.meta.gone", Some(true)),
        ("meta.int", "lte", "actor.meta.level", Some(true)),
        ("meta.int", "lte", "actor.meta.gone", None),
        ("actor.meta.team", "in", "meta.tags", Some(false)),
        ("meta.tags", "contains", "actor.meta.team", Some(false)),
        ("meta.text", "matches", "meta.text", Some(true)),
        ("meta.text", "matches", "meta.int", None),
    ] {
        let condition = json!({"field": field, "operator": operator, "value_from": other});
        check(&condition, &subject, &meta, expected);
    }
    check(&json!({"field": "meta.gone", "operator": "nexists"}), &subject, &meta, Some(true));
}

/// What is true lets both effects apply, what is false neither; what can't be decided counts against the
/// caller.
fn check(condition: &Value, actor: &Actor, meta: &Data, expected: Option<bool>) {
    let (allow, deny) = match expected {
        Some(true) => (Allow, Deny),
        Some(false) => (Undefined, Undefined),
        None => (Undefined, Deny),
    };
    for (effect, expected) in [("allow", allow), ("deny", deny)] {
        let policy = conditional(effect, condition);
        assert_eq!(policy.problem(), None, "{condition}");
        let found = policy.evaluate(Some(actor), "read", "doc:1", meta);
        assert_eq!(found, expected, "{effect} {condition}");
    }
}

#[test]
fn all_conditions_must_hold() {
    let rule = |effect: &str| {
        policy(&json!({"actions": "*", "resources": "*", "effect": effect, "conditions": [
            {"field": "meta.a", "operator": "eq", "value": 1},
            {"field": "meta.b", "operator": "lt", "value": 2}
        ]}))
    };
    for (meta, allow, deny) in [
        (json!({"a": 1, "b": 1}), Allow, Deny),
        (json!({"a": 1, "b": 2}), Undefined, Undefined),
        (json!({"a": 2, "b": 1}), Undefined, Undefined),
        (json!({"a": 1}), Undefined, Deny),
        (json!({"a": 2}), Undefined, Undefined),
    ] {
        let found = |effect: &str| rule(effect).evaluate(None, "a", "r", &Data::from(&meta));
        assert_eq!((found("allow"), found("deny")), (allow, deny), "{meta}");
    }
}

#[test]
fn a_denial_decides_in_any_order() {
    let policies: [(&str, &str, Value); 3] = ["allow", "deny", "allow2"].map(|name| {
        let rule = json!({"actions": "*", "resources": "*", "effect": name.trim_end_matches('2')});
        let id = if name == "allow" {
            "app:a"
        } else if name == "deny" {
            "app:d"
        } else {
            "app:z"
        };
        (id, "security.policy", json!({"policy": rule}))
    });
    let Opened { loader, .. } = open(json!({}), &policies);
    let get = |name: &str| loader.policy(&id(name)).unwrap();
    for order in [["app:a", "app:d", "app:z"], ["app:d", "app:a", "app:z"], ["app:z", "app:a", "app:d"]] {
        let scope: Scope = order.iter().map(|name| get(name)).collect();
        assert_eq!(scope.evaluate(None, "x", "y", &Data::Nil), Deny);
        let scope = scope.without(&id("app:d"));
        assert_eq!(scope.evaluate(None, "x", "y", &Data::Nil), Allow);
        assert!(!scope.contains(&id("app:d")));
        assert_eq!(scope.with(get("app:a")).policies().len(), 2);
    }
    assert_eq!(Scope::default().evaluate(None, "x", "y", &Data::Nil), Undefined);
}

#[test]
fn a_policy_that_cant_be_evaluated_denies_everything() {
    let good = || json!({"actions": "read", "resources": "none", "effect": "allow"});
    let with = |key: &str, value: Value| {
        let mut rule = good();
        rule[key] = value;
        json!({"policy": rule})
    };
    let condition = |condition: Value| with("conditions", json!([condition]));
    let kind = "security.policy";
    for (kind, data, reason) in [
        ("security.policy.expr", json!({"policy": good(), "expression": "true"}), "are not evaluated"),
        ("security.policy.v2", json!({"policy": good()}), "`security.policy.v2` are not evaluated"),
        (kind, json!({"policy": good(), "unavailable": "some reason"}), "some reason"),
        (kind, json!({}), "missing field `policy`"),
        (kind, json!({"policy": good(), "expires": "1h"}), "`expires` is not understood"),
        (kind, json!({"policy": good(), "group": ["a"]}), "`group` is not understood"),
        (kind, with("except", json!("x")), "`policy.except` is not understood"),
        (kind, with("effect", json!("Allow")), "expected one of `allow`, `deny`"),
        (kind, with("effect", json!("${env:NOPE}")), "`NOPE` is not set"),
        (kind, with("actions", json!("${env:NOPE}")), "`NOPE` is not set"),
        (kind, with("resources", json!({"a": 1})), "expected text"),
        (kind, with("conditions", json!({"field": "action"})), "invalid type"),
        (kind, condition(json!({"field": "action", "operator": "like", "value": "x"})), "found `like`"),
        (kind, condition(json!({"field": "action", "operator": "eq"})), "`eq` needs `value`"),
        (kind, condition(json!({"field": "action", "operator": "eq", "value": null})), "`eq` needs"),
        (kind, condition(json!({"field": "action", "operator": "eq", "value": ["a"]})), "not a list"),
        (kind, condition(json!({"field": "action", "operator": "exists", "value": false})), "`true` or none"),
        (kind, condition(json!({"field": "user", "operator": "eq", "value": 1})), "`user` is no field"),
        (kind, condition(json!({"field": "meta", "operator": "exists"})), "`meta` is no field"),
        (kind, condition(json!({"field": "meta.a..b", "operator": "exists"})), "is no field"),
        (kind, condition(json!({"field": "actor.role", "operator": "eq", "value": 1})), "is no field"),
        (kind, condition(json!({"field": "Actor.id", "operator": "eq", "value": 1})), "is no field"),
        (
            kind,
            condition(json!({"field": "action", "operator": "eq", "value": 1, "value_from": "actor.id"})),
            "both `value` and `value_from`",
        ),
        (
            kind,
            condition(json!({"field": "action", "operator": "eq", "value_from": "nowhere"})),
            "`nowhere` is no field",
        ),
        (
            kind,
            condition(json!({"field": "action", "operator": "eq", "value": 1, "negate": true})),
            "`policy.conditions.0.negate` is not understood",
        ),
        (kind, condition(json!({"field": "action", "operator": "matches", "value": "("})), "expression `(`"),
        (kind, condition(json!({"field": "action", "operator": "matches", "value": 5})), "takes text"),
        (kind, condition(json!({"field": "action", "operator": "eq", "value": "${env:NOPE}"})), "not set"),
    ] {
        let log = Lines::default();
        let Opened { loader, .. } = open_with_log(json!({}), &[("app:p", kind, data.clone())], log.clone());
        for _ in 0..2 {
            let policy = loader.policy(&id("app:p")).unwrap();
            let problem = policy.problem().unwrap_or_else(|| panic!("{data} is taken"));
            assert!(problem.contains(reason), "{problem}");
            // Also what the rule is not about.
            assert_eq!(policy.evaluate(None, "other", "thing", &Data::Nil), Deny, "{data}");
        }
        let lines = log.0.lock().unwrap();
        assert_eq!(lines.len(), 1, "said once: {lines:?}");
        assert!(lines[0].starts_with("app:p: this policy denies everything, since"), "{lines:?}");
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl GuestLog for Lines {
    fn line(&self, entry: &EntryId, _: Stream, text: &str) {
        self.0.lock().unwrap().push(format!("{entry}: {text}"));
    }
}

#[test]
fn placeholders_are_resolved_with_their_types() {
    let entries = [
        ("app:env", "env.storage.static", json!({"values": {"TENANT": "acme", "EFFECT": "deny"}})),
        ("app:tenant", "env.variable", json!({"variable": "TENANT", "storage": "env"})),
        ("app:effect", "env.variable", json!({"variable": "EFFECT", "storage": "env"})),
        ("app:level", "env.variable", json!({"variable": "LEVEL", "storage": "env", "default": 3})),
        (
            "app:p",
            "security.policy",
            json!({"policy": {
                "actions": "*", "resources": "doc:${env:TENANT}:*", "effect": "${env:EFFECT}",
                "conditions": [{"field": "meta.level", "operator": "lt", "value": "${env:LEVEL}"}]
            }}),
        ),
    ];
    let Opened { loader, .. } = open(json!({}), &entries);
    let policy = loader.policy(&id("app:p")).unwrap();
    assert_eq!(policy.problem(), None);
    let level = |level: i64| Data::from(&json!({"level": level}));
    assert_eq!(policy.evaluate(None, "a", "doc:acme:1", &level(2)), Deny);
    assert_eq!(policy.evaluate(None, "a", "doc:acme:1", &level(3)), Undefined);
    assert_eq!(policy.evaluate(None, "a", "doc:other:1", &level(2)), Undefined);
}

#[test]
fn groups_are_of_namespaces_and_hold_what_cant_be_evaluated() {
    let allow = json!({"actions": "*", "resources": "*", "effect": "allow"});
    let entries = [
        ("a:one", "security.policy", json!({"policy": allow, "groups": ["g", "b:g"]})),
        ("b:two", "security.policy", json!({"policy": allow, "groups": ["g"]})),
        ("c:three", "security.policy.expr", json!({"policy": allow, "groups": ["expr"]})),
        ("d:four", "registry.entry", json!({"policy": allow, "groups": ["a:g"]})),
    ];
    let Opened { loader, .. } = open(json!({}), &entries);
    let names = |group: &str| -> Vec<String> {
        let scope = loader.policy_group(&id(group)).unwrap();
        scope.policies().iter().map(|policy| policy.id().to_string()).collect()
    };
    assert_eq!(names("a:g"), ["a:one"]);
    assert_eq!(names("b:g"), ["a:one", "b:two"]);
    assert_eq!(names("c:expr"), ["c:three"]);
    let expr = loader.policy_group(&id("c:expr")).unwrap();
    assert_eq!(expr.evaluate(None, "a", "r", &Data::Nil), Deny);
    for unknown in ["c:g", "g:a", "a:G", "a:*"] {
        assert_eq!(loader.policy_group(&id(unknown)).unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert_eq!(loader.policy(&id("d:four")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_policy_whose_groups_cant_be_read_belongs_to_all() {
    let allow = json!({"actions": "*", "resources": "*", "effect": "allow"});
    let entries = [
        ("a:one", "security.policy", json!({"policy": allow, "groups": ["g"]})),
        ("a:two", "security.policy.expr", json!({"policy": allow, "groups": {"all": true}})),
    ];
    let Opened { loader, .. } = open(json!({}), &entries);
    let scope = loader.policy_group(&id("a:g")).unwrap();
    assert_eq!(scope.policies().len(), 2);
    assert_eq!(scope.evaluate(None, "a", "r", &Data::Nil), Deny);
}

#[test]
fn what_a_context_may_do() {
    let allow = json!({"policy": {"actions": "read", "resources": "doc:*", "effect": "allow"}});
    let entries = [("app:p", "security.policy", allow)];
    let user = Some(Arc::new(actor("user:1", &json!({}))));
    for (config, without) in [
        (json!({}), true),
        (json!({"security": null}), true),
        (json!({"security": {}}), true),
        (json!({"security": {"strict_mode": false}}), true),
        (json!({"security": {"strict_mode": "${env:NOPE|false}"}}), true),
        (json!({"security": {"strict_mode": true}}), false),
        (json!({"security": {"strict_mode": "true"}}), false),
    ] {
        let Opened { loader, .. } = open(config.clone(), &entries);
        let policy = loader.policy(&id("app:p")).unwrap();
        let scope = Some(Arc::new(Scope::default().with(policy)));
        let check = |actor: bool, scoped: bool, action: &str| {
            let context = Context::default()
                .with_actor(user.clone().filter(|_| actor))
                .with_scope(scope.clone().filter(|_| scoped));
            loader.check(&context, action, "doc:1", &Data::Nil)
        };
        for (actor, scoped) in [(false, false), (true, false), (false, true)] {
            for action in ["read", "write"] {
                assert_eq!(
                    check(actor, scoped, action).is_ok(),
                    without,
                    "{config} {actor} {scoped} {action}"
                );
            }
        }
        assert_eq!(check(true, true, "read"), Ok(()), "{config}");
        let error = check(true, true, "write").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert_eq!(error.message(), "actor `user:1` may not `write` on `doc:1`");
    }
    let Opened { loader, .. } = open(json!({"security": {"strict_mode": true}}), &entries);
    let error = loader.check(&Context::default(), "read", "doc:1", &Data::Nil).unwrap_err();
    assert_eq!(error.message(), "a caller without an actor may not `read` on `doc:1`: strict mode is on");
}

#[test]
fn an_empty_scope_allows_nothing() {
    let Opened { loader, .. } = open(json!({}), &[]);
    let user = Some(Arc::new(actor("user:1", &json!({}))));
    let context = Context::default().with_actor(user).with_scope(Some(Arc::default()));
    let error = loader.check(&context, "funcs.call", "app:f", &Data::Nil).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

#[test]
fn services_start_with_what_their_lifecycle_says() {
    let allow = json!({"actions": "*", "resources": "*", "effect": "allow"});
    let entries = [
        ("app:env", "env.storage.static", json!({"values": {"NAME": "w1"}})),
        ("app:name", "env.variable", json!({"variable": "NAME", "storage": "env"})),
        ("app:p", "security.policy", json!({"policy": allow})),
        ("app:q", "security.policy", json!({"policy": allow, "groups": ["workers"]})),
    ];
    let Opened { loader, .. } = open(json!({}), &entries);
    let context = |security: Value| {
        let security = serde_json::from_value(security).unwrap();
        loader.inner().security.initial_context(loader.inner(), id("app:x").namespace(), &security)
    };
    let worker = context(json!({
        "actor": {"id": "service:${env:NAME}", "meta": {"role": "worker", "tags": ["${env:NAME}"], "service": true}},
        "policies": ["p"],
        "groups": ["workers"]
    }))
    .unwrap();
    let found = worker.actor().unwrap();
    assert_eq!(found.id(), "service:w1");
    assert_eq!(found.meta().to_json().unwrap(), json!({"role": "worker", "tags": ["w1"], "service": true}));
    assert_eq!(worker.scope().unwrap().policies().len(), 2);
    let nothing = context(json!({})).unwrap();
    assert!(nothing.actor().is_none() && nothing.scope().is_none());
    assert_eq!(context(json!({"policies": []})).unwrap().scope().unwrap().policies().len(), 0);
    for (security, problem) in [
        (json!({"policies": ["gone"]}), "the policy `app:gone`"),
        (json!({"groups": ["worker"]}), "the policy group `app:worker`"),
    ] {
        let error = context(security).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains(problem), "{error}");
    }
    assert_eq!(context(json!({"actor": {"id": ""}})).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(context(json!({"actor": {"id": "${env:GONE}"}})).unwrap_err().kind(), ErrorKind::NotFound);
}

/// Who may call which function, by every combination of actor, scope and strictness.
#[test]
fn who_may_call_what() {
    let rule = |effect: &str, resources: Value, conditions: Value, groups: Value| {
        let actions = json!(["funcs.call", "security.*"]);
        let rule = json!({
            "actions": actions, "resources": resources, "effect": effect, "conditions": conditions
        });
        json!({"policy": rule, "groups": groups})
    };
    let is = |field: &str, operator: &str, value: Value| json!([{"field": field, "operator": operator, "value": value}]);
    let kind = "security.policy";
    let entries = [
        (
            "app:admin",
            kind,
            rule("allow", json!("*"), is("actor.meta.role", "eq", json!("admin")), json!(["all"])),
        ),
        ("app:api", kind, rule("allow", json!("app.api:*"), json!([]), json!(["all", "api"]))),
        (
            "app:own",
            kind,
            rule(
                "allow",
                json!("app.users:*"),
                json!([{"field": "resource", "operator": "contains", "value_from": "actor.meta.name"}]),
                json!(["all"]),
            ),
        ),
        (
            "app:locked",
            kind,
            rule("deny", json!("*"), is("actor.meta.locked", "eq", json!(true)), json!(["all"])),
        ),
        (
            "app:level",
            kind,
            rule("deny", json!("*:delete*"), is("actor.meta.level", "lt", json!(3)), json!(["all", "api"])),
        ),
        (
            "app:system",
            kind,
            rule(
                "deny",
                json!("app.system:*"),
                is("actor.id", "nmatches", json!("^system:[a-z]+$")),
                json!(["all"]),
            ),
        ),
        ("app:expr", "security.policy.expr", json!({"groups": ["expr"]})),
        ("app:api2", kind, rule("allow", json!("*"), json!([]), json!(["expr"]))),
    ];
    let functions = [
        "app.api:get",
        "app.api:delete",
        "app.api:delete_all",
        "app.users:ann",
        "app.users:bob",
        "app.system:stop",
        "app.admin:x",
    ];
    let actors = [
        ("ann", json!({"role": "user", "name": "ann", "level": 3})),
        ("bob", json!({"role": "user", "name": "bob"})),
        ("root", json!({"role": "admin", "name": "*", "level": 9})),
        ("system:root", json!({"role": "admin", "level": 9})),
        ("gone", json!({"role": "admin", "level": 9, "locked": true})),
        // Text where a switch or a number is expected can't be compared.
        ("odd", json!({"role": "admin", "level": "9", "locked": "true"})),
        ("Admin", json!({"Role": "admin", "role": "ADMIN", "level": 9})),
        ("list", json!({"role": ["admin"], "level": 9, "name": ["ann"]})),
    ];
    // In the order of `functions`.
    let expected = [
        ("ann", "all", "++++---"),
        ("bob", "all", "+---+--"),
        ("root", "all", "+++++-+"),
        ("system:root", "all", "+++++++"),
        ("gone", "all", "-------"),
        ("odd", "all", "-------"),
        ("Admin", "all", "+++----"),
        ("list", "all", "+++----"),
        ("ann", "api", "+++----"),
        ("bob", "api", "+------"),
        ("root", "api", "+++----"),
        ("gone", "api", "+++----"),
        ("ann", "expr", "-------"),
        ("root", "expr", "-------"),
    ];
    for strict in [false, true] {
        let Opened { loader, .. } = open(json!({"security": {"strict_mode": strict}}), &entries);
        let may = |context: &Context| -> String {
            let may = |function: &&str| loader.check(context, "funcs.call", function, &Data::Nil).is_ok();
            functions.iter().map(|function| if may(function) { '+' } else { '-' }).collect()
        };
        let find = |name: &str| {
            let (id, meta) = actors.iter().find(|(id, _)| *id == name).unwrap();
            Some(Arc::new(actor(id, meta)))
        };
        for (name, group, expected) in expected {
            let scope = loader.policy_group(&id(&format!("app:{group}"))).unwrap();
            let context = Context::default().with_actor(find(name)).with_scope(Some(scope));
            assert_eq!(may(&context), expected, "{name} in {group}");
            let (read, empty) = ("fs.read", context.clone().with_scope(Some(Arc::default())));
            assert!(loader.check(&context, read, "app.api:get", &Data::Nil).is_err(), "{name} in {group}");
            assert_eq!(may(&empty), "-------", "{name}");
            let without = if strict { "-------" } else { "+++++++" };
            assert_eq!(may(&context.clone().with_scope(None)), without, "{name}");
            assert_eq!(may(&context.with_actor(None)), without, "{name}");
        }
    }
}

#[test]
fn patterns_are_those_of_the_policy_alone() {
    let rule =
        json!({"actions": ["funcs.call", "fs.*"], "resources": ["app.api:*", "doc:1"], "effect": "allow"});
    let policy = policy(&rule);
    for resource in ["app.api:x", "app.api:", "app.api:*", "doc:1", "app.api:x\0", "app.api:../../x"] {
        assert_eq!(policy.evaluate(None, "funcs.call", resource, &Data::Nil), Allow, "{resource:?}");
    }
    for resource in [
        "*",
        "",
        "app.api*",
        "app.*:x",
        "APP.API:x",
        "App.api:x",
        "app.api",
        " app.api:x",
        "xapp.api:x",
        "app\u{2024}api:x",
        "\u{430}pp.api:x",
        "app.api\u{ff1a}x",
        "doc:1 ",
        "doc:10",
        "doc:\u{661}",
        "doc:1\0",
        "doc:1\n",
        "do*",
        "doc:?",
        "d.c:1",
        "[d]oc:1",
        "doc:[1]",
        "%64oc:1",
    ] {
        assert_eq!(policy.evaluate(None, "funcs.call", resource, &Data::Nil), Undefined, "{resource:?}");
    }
    for action in ["*", "funcs.*", "Funcs.call", "funcs.call ", "funcs.calls", "fs", "f*"] {
        assert_eq!(policy.evaluate(None, action, "doc:1", &Data::Nil), Undefined, "{action:?}");
    }
    let deny = json!({"actions": "*", "resources": "secret:*", "effect": "deny"});
    let deny = self::policy(&deny);
    for resource in ["secret:1", "secret:\u{202e}", "secret:*", "secret:\n", "secret:\0"] {
        assert_eq!(deny.evaluate(None, "", resource, &Data::Nil), Deny, "{resource:?}");
    }
}

#[test]
fn an_expression_is_not_fooled_by_lines_and_costs_no_more_than_its_length() {
    let matches = |expression: &str| {
        conditional("allow", &json!({"field": "resource", "operator": "matches", "value": expression}))
    };
    let anchored = matches("^doc:[a-z]+$");
    for (resource, expected) in
        [("doc:x", Allow), ("doc:x\n", Undefined), ("x\ndoc:x", Undefined), ("doc:x\nroot", Undefined)]
    {
        assert_eq!(anchored.evaluate(None, "a", resource, &Data::Nil), expected, "{resource:?}");
    }
    // As in Go, classes are those of ASCII.
    assert_eq!(matches("^\\d$").evaluate(None, "a", "\u{661}", &Data::Nil), Undefined);
    let start = Instant::now();
    for bomb in ["(a{1000}){1000}", "((a{100}){100}){100}", "(?:){4294967295}", "(((a*)*)*)*(b{900}){900}"] {
        let problem = matches(bomb);
        assert!(problem.problem().is_some(), "{bomb}");
    }
    let long = "a".repeat(POLICY_REGEX_TEXT_BYTES_MAX - 1) + "!";
    for slow in ["^(a+)+$", "^(a|a)*$", "^(a*)*b$", "(x+x+)+y", "^(?:a?){300}a{300}$"] {
        let policy = matches(slow);
        assert_eq!(policy.problem(), None, "{slow}");
        assert_eq!(policy.evaluate(None, "a", &long, &Data::Nil), Undefined, "{slow}");
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    // A longer text can't be compared, which counts against the caller.
    let longer = "a".repeat(POLICY_REGEX_TEXT_BYTES_MAX + 1);
    let deny = |expression: &str, operator: &str| {
        let condition = json!({"field": "resource", "operator": operator, "value": expression});
        conditional("deny", &condition).evaluate(None, "a", &longer, &Data::Nil)
    };
    assert_eq!(matches("a").evaluate(None, "a", &longer, &Data::Nil), Undefined);
    assert_eq!((deny("b", "matches"), deny("a", "nmatches")), (Deny, Deny));
    // So can't an expression that a caller made.
    let from = json!({"field": "resource", "operator": "matches", "value_from": "meta.expression"});
    for expression in ["(", "(a{1000}){1000}", "\u{0}["] {
        let meta = Data::from(&json!({"expression": expression}));
        assert_eq!(conditional("allow", &from).evaluate(None, "a", "r", &meta), Undefined);
        assert_eq!(conditional("deny", &from).evaluate(None, "a", "r", &meta), Deny);
    }
}

#[test]
fn huge_metadata_is_refused() {
    let text = "x".repeat(SECURITY_META_BYTES_MAX);
    let wide: serde_json::Map<String, Value> = (0..10_000).map(|n| (n.to_string(), json!(n))).collect();
    for meta in [json!({"a": text}), Value::Object(wide), json!({"a": vec![1; 10_000]}), json!("text")] {
        let error = Actor::new("user:1", Data::from(&meta)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    let most = json!({"a": "x".repeat(SECURITY_META_BYTES_MAX - 1000)});
    assert!(Actor::new("user:1", Data::from(&most)).is_ok());
    assert_eq!(Actor::new("", Data::Nil).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn messages_show_no_control_characters_and_not_everything() {
    let Opened { loader, .. } = open(json!({"security": {"strict_mode": true}}), &[]);
    let resource = format!("a\n\u{1b}[31m{}", "x".repeat(10_000));
    let error = loader.check(&Context::default(), "read", &resource, &Data::Nil).unwrap_err();
    assert!(error.message().contains("`a\\n\\u{1b}[31mxxx"), "{error}");
    assert!(error.message().len() < 400 && error.message().contains("x…`"), "{error}");
}

/// Token stores as entries: what they need, and what makes them unusable.
#[tokio::test(start_paused = true)]
async fn token_stores_are_made_of_their_entries() {
    let tokens = |fields: Value| ("app:tokens", "security.token_store", fields);
    let data = ("app:data", "store.memory", json!({"max_size": 2, "cleanup_interval": "5m"}));
    let env = [
        ("app:env", "env.storage.static", json!({"values": {"KEY": "secret", "EMPTY": ""}})),
        ("app:key", "env.variable", json!({"variable": "KEY", "storage": "env"})),
        ("app:empty", "env.variable", json!({"variable": "EMPTY", "storage": "env"})),
    ];
    let open = |fields: Value| {
        let mut entries = vec![tokens(fields), data.clone()];
        entries.extend(env.iter().cloned());
        open(json!({}), &entries)
    };
    for (fields, signed) in [
        (json!({"store": "data"}), false),
        (json!({"store": "app:data", "token_length": 16, "default_expiration": "1h"}), false),
        (json!({"store": "data", "token_key": "x"}), true),
        (json!({"store": "data", "token_key": "${env:KEY}"}), true),
        (json!({"store": "data", "token_key_env": "KEY"}), true),
        (json!({"store": "data", "token_key_env": "app:key"}), true),
        (json!({"store": "data", "token_key_env": "EMPTY", "token_key": "x"}), true),
        (json!({"store": "data", "token_key_env": "GONE", "token_key": "x"}), true),
    ] {
        let Opened { loader, .. } = open(fields.clone());
        let store = loader.token_store(&id("app:tokens")).unwrap();
        let user = || Arc::new(actor("user:1", &json!({"role": "user"})));
        let token = store.create(user(), Arc::default(), None, Data::Nil).unwrap();
        assert_eq!(token.contains('.'), signed, "{fields}");
        let found = loader.token_store(&id("app:tokens")).unwrap().validate(&token).unwrap();
        assert_eq!(found.actor().as_ref(), user().as_ref());
        store.create(user(), Arc::default(), None, Data::Nil).unwrap();
        let full = store.create(user(), Arc::default(), None, Data::Nil).unwrap_err();
        assert_eq!((full.kind(), full.is_retryable()), (ErrorKind::Unavailable, true));
        assert!(!format!("{store:?}").contains("secret"));
    }
    for (fields, problem) in [
        (json!({}), "missing field `store`"),
        (json!({"store": "gone"}), "no entry `app:gone`"),
        (json!({"store": "key"}), "expected a `store.memory`"),
        (json!({"store": "data", "token_length": 0}), "expected 1 to"),
        (json!({"store": "data", "token_length": 1_000_000}), "expected 1 to"),
        (json!({"store": "data", "default_expiration": "soon"}), "a duration"),
        (json!({"store": "data", "token_key": ""}), "`token_key` is empty"),
        (json!({"store": "data", "token_key": "${env:EMPTY}"}), "`token_key` is empty"),
        (json!({"store": "data", "token_key": "${env:GONE}"}), "`GONE` is not set"),
        (json!({"store": "data", "token_key_env": "GONE"}), "`GONE` of `token_key_env` is not set"),
        (json!({"store": "data", "token_key_env": "EMPTY"}), "`EMPTY` of `token_key_env` is not set"),
        (json!({"store": "data", "tokenkey": "x"}), "`tokenkey` is not understood"),
        (json!({"store": "data", "unavailable": "some reason"}), "some reason"),
    ] {
        let Opened { loader, .. } = open(fields.clone());
        let error = loader.token_store(&id("app:tokens")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{fields}");
        assert!(error.message().contains(problem), "{fields}: {error}");
    }
    let Opened { loader, .. } = open(json!({"store": "data"}));
    assert_eq!(loader.token_store(&id("app:data")).unwrap_err().kind(), ErrorKind::NotFound);
}
