//! Each limit is reached, named, and the system goes on: memory, tables and instances. Time has a module of
//! its own, the stack is among the failures.

use loader::config::{Allocation, HOSTCALL_BYTES_MAX};
use loader::{Context, Data, ErrorKind, Fault, Loader, Options, Val};

use crate::outcomes::{call, expect_failure, expect_number, failure, until};
use crate::support::Registry;

/// Grows its memory by `pages`, and traps when it can't or returns the size in pages.
const GROW: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "grow") (param $pages i32) (result i32)
    (if (i32.lt_s (memory.grow (local.get $pages)) (i32.const 0)) (then unreachable))
    (memory.size)))"#;

/// The same for a table.
const GROW_TABLE: &str = r#"(module
  (table $table 10 funcref)
  (func (export "grow") (param $elements i32) (result i32)
    (if (i32.lt_s (table.grow $table (ref.null func) (local.get $elements)) (i32.const 0)) (then unreachable))
    (table.size $table)))"#;

fn growing(limits: &str) -> String {
    format!("wit: \"grow: func(by: u32) -> u32\"\nmethod: grow\nlimits: {{{limits}}}")
}

/// A limit that the build does not know: it would refuse what starts over it.
fn at_boot(limit: &str, value: u64) -> String {
    format!("{limit}: \"${{env:NOBODY|{value}}}\"")
}

const TRAPPED: &str = "wasm trap: wasm `unreachable` instruction executed";

#[tokio::test]
async fn memory_up_to_its_limit() {
    let built = Registry::new()
        .wat("grow", GROW, &growing("max_memory_bytes: 262144"))
        .wat("default", GROW, &growing(""))
        .build();
    let loader = Loader::open(&built).unwrap();
    let over =
        format!("`app:grow` failed in `grow`: {TRAPPED} (limit `max_memory_bytes` of 262144 was reached)");
    for _ in 0..2 {
        assert_eq!(call(&loader, "grow", &[Val::U32(3)]).await, Ok(Some(Val::U32(4))));
        expect_failure(&loader, "grow", &[Val::U32(4)], ErrorKind::Internal, &over).await;
    }
    // 256 MiB are 4,096 pages.
    assert_eq!(call(&loader, "default", &[Val::U32(4095)]).await, Ok(Some(Val::U32(4096))));
    let over = format!(
        "`app:default` failed in `grow`: {TRAPPED} (limit `max_memory_bytes` of 268435456 was reached)"
    );
    expect_failure(&loader, "default", &[Val::U32(4096)], ErrorKind::Internal, &over).await;
    assert_eq!(call(&loader, "default", &[Val::U32(0)]).await, Ok(Some(Val::U32(1))));
}

/// A refused growth is an answer to the guest, which may go on; a trap for another reason later names no limit
/// that had nothing to do with it in words that say so.
#[tokio::test]
async fn a_guest_that_minds_a_refused_growth_goes_on() {
    let source = r#"(module
      (memory (export "memory") 1)
      (func (export "grow") (param $pages i32) (result i32)
        (drop (memory.grow (local.get $pages)))
        (memory.size)))"#;
    let built = Registry::new().wat("grow", source, &growing("max_memory_bytes: 131072")).build();
    let loader = Loader::open(&built).unwrap();
    assert_eq!(call(&loader, "grow", &[Val::U32(1)]).await, Ok(Some(Val::U32(2))));
    assert_eq!(call(&loader, "grow", &[Val::U32(2)]).await, Ok(Some(Val::U32(1))));
}

#[tokio::test]
async fn a_memory_that_starts_over_its_limit() {
    let built = Registry::new()
        .wat("grow", GROW, &growing(&at_boot("max_memory_bytes", 65_535)))
        .answer("answer", 42)
        .build();
    let loader = Loader::open(&built).unwrap();
    let over = "`app:grow` can't be instantiated: memory minimum size of 1 pages exceeds memory limits \
                (limit `max_memory_bytes` of 65535 was reached)";
    for _ in 0..2 {
        expect_failure(&loader, "grow", &[Val::U32(0)], ErrorKind::Internal, over).await;
        expect_number(&loader, "answer", 42).await;
    }
}

#[tokio::test]
async fn tables_up_to_their_limit() {
    let built = Registry::new()
        .wat("grow", GROW_TABLE, &growing("max_table_elements: 20"))
        .wat("small", GROW_TABLE, &growing(&at_boot("max_table_elements", 9)))
        .wat("default", GROW_TABLE, &growing(""))
        .build();
    let loader = Loader::open(&built).unwrap();
    let over =
        format!("`app:grow` failed in `grow`: {TRAPPED} (limit `max_table_elements` of 20 was reached)");
    for _ in 0..2 {
        assert_eq!(call(&loader, "grow", &[Val::U32(10)]).await, Ok(Some(Val::U32(20))));
        expect_failure(&loader, "grow", &[Val::U32(11)], ErrorKind::Internal, &over).await;
    }
    let over = "`app:small` can't be instantiated: table minimum size of 10 elements exceeds table limits \
                (limit `max_table_elements` of 9 was reached)";
    expect_failure(&loader, "small", &[Val::U32(0)], ErrorKind::Internal, over).await;
    let over = format!(
        "`app:default` failed in `grow`: {TRAPPED} (limit `max_table_elements` of 1000000 was reached)"
    );
    expect_failure(&loader, "default", &[Val::U32(999_991)], ErrorKind::Internal, &over).await;
    assert_eq!(call(&loader, "default", &[Val::U32(999_990)]).await, Ok(Some(Val::U32(1_000_000))));
}

#[tokio::test]
async fn instances_up_to_their_limit() {
    let two = r#"(component
      (core module $module (func (export "answer") (result i32) (i32.const 42)))
      (core instance $first (instantiate $module))
      (core instance $second (instantiate $module))
      (func (export "answer") (result u32) (canon lift (core func $second "answer"))))"#;
    let built = Registry::new()
        .wat("two", two, "method: answer\nlimits: {max_instances: 2}")
        .wat("one", two, &format!("method: answer\nlimits: {{{}}}", at_boot("max_instances", 1)))
        .build();
    let loader = Loader::open(&built).unwrap();
    for _ in 0..2 {
        let over = "`app:one` can't be instantiated: resource limit exceeded: instance count too high at 2";
        expect_failure(&loader, "one", &[], ErrorKind::Internal, over).await;
        expect_number(&loader, "two", 42).await;
    }
}

/// Limits may be placeholders, which are resolved when the entry is first used.
#[tokio::test]
async fn limits_come_from_the_environment() {
    let built = Registry::new()
        .entries("- name: fixed\n  kind: env.storage.static\n  values: {PAGES_2: \"131072\", MANY: lots}\n")
        .entries("- name: size\n  kind: env.variable\n  variable: PAGES_2\n  storage: fixed\n")
        .entries("- name: many\n  kind: env.variable\n  variable: MANY\n  storage: fixed\n")
        .wat("grow", GROW, &growing("max_memory_bytes: \"${env:PAGES_2}\""))
        .wat("wrong", GROW, &growing("max_memory_bytes: \"${env:MANY}\""))
        .wat("unset", GROW, &growing("max_memory_bytes: \"${env:NOBODY}\""))
        .build();
    let loader = Loader::open(&built).unwrap();
    assert_eq!(call(&loader, "grow", &[Val::U32(1)]).await, Ok(Some(Val::U32(2))));
    let over =
        format!("`app:grow` failed in `grow`: {TRAPPED} (limit `max_memory_bytes` of 131072 was reached)");
    expect_failure(&loader, "grow", &[Val::U32(2)], ErrorKind::Internal, &over).await;
    let wrong = "`app:wrong` is not available: `limits.max_memory_bytes`: `${env:MANY}`: found `lots`, \
                 expected a whole number from 0 to 18446744073709551615";
    expect_failure(&loader, "wrong", &[Val::U32(0)], ErrorKind::Unavailable, wrong).await;
    let unset = "`app:unset` is not available: `limits.max_memory_bytes`: variable `NOBODY` is not set and `${env:NOBODY}` has no default for it";
    expect_failure(&loader, "unset", &[Val::U32(0)], ErrorKind::Unavailable, unset).await;
    // Neither is the build's business: the variables are the deployment's.
    let faults = loader.verify().unwrap().faults;
    let unavailable = |name: &str, problem: &str| Fault::Entry {
        id: format!("app:{name}").parse().unwrap(),
        kind: ErrorKind::Unavailable,
        problem: problem.to_owned(),
    };
    assert_eq!(faults, [unavailable("unset", unset), unavailable("wrong", wrong)]);
}

/// The two memories of an instance count together.
#[tokio::test]
async fn all_memories_of_an_instance_count() {
    let source = r#"(module
      (memory $one (export "memory") 1)
      (memory $two 1)
      (func (export "grow") (param $pages i32) (result i32)
        (if (i32.lt_s (memory.grow $one (i32.const 1)) (i32.const 0)) (then unreachable))
        (if (i32.lt_s (memory.grow $two (local.get $pages)) (i32.const 0)) (then unreachable))
        (i32.add (memory.size $one) (memory.size $two))))"#;
    let built = Registry::new().wat("grow", source, &growing("max_memory_bytes: 327680")).build();
    let loader = Loader::open(&built).unwrap();
    let over =
        format!("`app:grow` failed in `grow`: {TRAPPED} (limit `max_memory_bytes` of 327680 was reached)");
    for _ in 0..2 {
        assert_eq!(call(&loader, "grow", &[Val::U32(2)]).await, Ok(Some(Val::U32(5))));
        expect_failure(&loader, "grow", &[Val::U32(3)], ErrorKind::Internal, &over).await;
    }
}

/// A thousand core instances, and one more.
#[tokio::test]
async fn core_instances_up_to_the_default() {
    let most = usize::try_from(loader::config::INSTANCES_MAX).unwrap();
    // One component has no more by itself, but may have others within.
    let within = "(core instance (instantiate $module))\n".repeat(most / 2);
    let many = |count: usize| {
        let instances = "(core instance (instantiate $module))\n".repeat(count - most / 2 - 1);
        format!(
            r#"(component
      (component $within (core module $module) {within})
      (instance (instantiate $within))
      (core module $module (func (export "answer") (result i32) (i32.const 42)))
      {instances}(core instance $last (instantiate $module))
      (func (export "answer") (result u32) (canon lift (core func $last "answer"))))"#
        )
    };
    // The build knows the default; what an environment says is the deployment's.
    let unknown = format!("limits: {{{}}}", at_boot("max_instances", most as u64));
    let built = Registry::new()
        .wat("most", &many(most), "method: answer")
        .wat("more", &many(most + 1), &format!("method: answer\n{unknown}"))
        .build();
    let loader = Loader::open(&built).unwrap();
    let over = format!(
        "`app:more` can't be instantiated: resource limit exceeded: instance count too high at {}",
        most + 1
    );
    for _ in 0..2 {
        expect_failure(&loader, "more", &[], ErrorKind::Internal, &over).await;
        expect_number(&loader, "most", 42).await;
    }
}

/// `wasm.limits` hold for guests whose entries say nothing; what an entry says wins.
#[tokio::test]
async fn an_application_sets_limits_for_all_entries() {
    let two = r#"(component
      (core module $module (func (export "answer") (result i32) (i32.const 42)))
      (core instance $first (instantiate $module))
      (core instance $second (instantiate $module))
      (func (export "answer") (result u32) (canon lift (core func $second "answer"))))"#;
    let settings = "wasm:\n  limits:\n    max_memory_bytes: 131072\n    max_table_elements: 20\n    \
                    max_instances: 1\n    max_retained_memory_bytes: 65536\n";
    let built = Registry::new()
        .file(".wippy.yaml", settings)
        .wat("grow", GROW, &growing(""))
        .wat("own-grow", GROW, &growing("max_memory_bytes: 262144"))
        .wat("table", GROW_TABLE, &growing(""))
        .wat("own-table", GROW_TABLE, &growing("max_table_elements: 30"))
        .wat("own-two", two, "method: answer\nlimits: {max_instances: 2}")
        .wat(
            "kept",
            GROW,
            &format!("{}\npool: {{type: lazy, reuse: true}}", growing("max_memory_bytes: 262144")),
        )
        .build();
    let loader = Loader::open(&built).unwrap();
    let trapped = |name: &str, limit: &str| {
        format!("`app:{name}` failed in `grow`: {TRAPPED} (limit {limit} was reached)")
    };
    for (name, fits, all, limit) in [
        ("grow", 1, 2, "`max_memory_bytes` of 131072"),
        ("own-grow", 3, 4, "`max_memory_bytes` of 262144"),
        ("table", 10, 20, "`max_table_elements` of 20"),
        ("own-table", 20, 30, "`max_table_elements` of 30"),
    ] {
        assert_eq!(call(&loader, name, &[Val::U32(fits)]).await, Ok(Some(Val::U32(all))), "{name}");
        let message = trapped(name, limit);
        expect_failure(&loader, name, &[Val::U32(fits + 1)], ErrorKind::Internal, &message).await;
    }
    expect_number(&loader, "own-two", 42).await;
    // One page may be kept.
    assert_eq!(call(&loader, "kept", &[Val::U32(0)]).await, Ok(Some(Val::U32(1))));
    assert_eq!(loader.instances().live, 1);
    assert_eq!(call(&loader, "kept", &[Val::U32(1)]).await, Ok(Some(Val::U32(2))));
    assert_eq!(loader.instances().live, 0);
}

/// One memory for all: what one guest has, others have not.
#[tokio::test]
async fn all_guests_have_one_memory() {
    let built = Registry::new().wat("grow", GROW, &growing("")).answer("answer", 42).build();
    let options = Options { memory_bytes_max: Some(1 << 20), ..Options::default() };
    let loader = Loader::builder().options(options).open(&built).unwrap();
    let over = format!(
        "`app:grow` failed in `grow`: {TRAPPED} (limit `wasm.total.max_memory_bytes` of 1048576 was reached)"
    );
    for _ in 0..2 {
        assert_eq!(call(&loader, "grow", &[Val::U32(15)]).await, Ok(Some(Val::U32(16))));
        expect_failure(&loader, "grow", &[Val::U32(16)], ErrorKind::Internal, &over).await;
        expect_number(&loader, "answer", 42).await;
        assert_eq!(loader.memory().used, 0);
    }
}

/// Both totals may be set for an application, and the loader's options win over it.
#[tokio::test(start_paused = true)]
async fn an_application_sets_what_all_guests_have() {
    let settings = "wasm:\n  total:\n    max_instances: 1\n    max_memory_bytes: 131072\n";
    let built = Registry::new().file(".wippy.yaml", settings).wat("grow", GROW, &growing("")).build();
    let loader = Loader::open(&built).unwrap();
    assert_eq!((loader.instances().max, loader.memory().max), (1, 131_072));
    let over = format!(
        "`app:grow` failed in `grow`: {TRAPPED} (limit `wasm.total.max_memory_bytes` of 131072 was reached)"
    );
    for _ in 0..2 {
        assert_eq!(call(&loader, "grow", &[Val::U32(1)]).await, Ok(Some(Val::U32(2))));
        expect_failure(&loader, "grow", &[Val::U32(2)], ErrorKind::Internal, &over).await;
    }
    let options = Options { instances_max: Some(3), memory_bytes_max: Some(1 << 20), ..Options::default() };
    let loader = Loader::builder().options(options).open(&built).unwrap();
    assert_eq!((loader.instances().max, loader.memory().max), (3, 1 << 20));
    assert_eq!(call(&loader, "grow", &[Val::U32(2)]).await, Ok(Some(Val::U32(3))));
}

/// Lua draws from the same memory: it is refused while it grows, and may handle that.
#[tokio::test]
async fn lua_has_its_part_of_the_memory_of_all_guests() {
    let built = Registry::new()
        .entries(
            r#"- name: hoard
  kind: function.lua
  source: |
    return function(count)
        local hoard = {}
        for index = 1, count do
            hoard[index] = string.rep("x", 1024) .. index
        end
        return #hoard
    end"#,
        )
        .build();
    let options = Options { memory_bytes_max: Some(8 << 20), ..Options::default() };
    let loader = Loader::builder().options(options).open(&built).unwrap();
    let hoard = |count| loader.call_data("app:hoard", vec![Data::Integer(count)], Context::default());
    for _ in 0..2 {
        assert_eq!(hoard(100).await, Ok(Data::Integer(100)));
        let error = hoard(1_000_000).await.unwrap_err();
        assert!(
            error.message().contains("limit `wasm.total.max_memory_bytes` of 8388608 was reached"),
            "{error}"
        );
        assert_eq!(loader.memory().used, 0);
    }
}

/// What a Lua function took within its turn counts while it waits, and what it gave to be sent as well.
#[tokio::test]
async fn lua_that_waits_has_its_part_of_the_memory_of_all_guests() {
    let entry = |name: &str, source: &str| {
        format!(
            "- name: {name}\n  kind: function.lua\n  modules: [time, funcs]\n  source: |\n{}",
            source.lines().map(|line| format!("    {}\n", line.trim())).collect::<String>()
        )
    };
    let built = Registry::new()
        .entries(&entry(
            "holds",
            "local time = require('time')
             return function(bytes)
               local hoard = string.rep('x', bytes)
               time.sleep('1h')
               return #hoard
             end",
        ))
        .entries(&entry(
            "gives",
            "local funcs = require('funcs')
             return function(bytes) return funcs.call('app:waits', string.rep('x', bytes)) end",
        ))
        .entries(&entry("waits", "local time = require('time')\nreturn function() time.sleep('1h') end"))
        .build();
    let options = Options { memory_bytes_max: Some(128 << 20), ..Options::default() };
    let loader = Loader::builder().options(options).open(&built).unwrap();
    let begin = |name: &'static str, bytes: i64| {
        let loader = loader.clone();
        tokio::spawn(
            async move { loader.call_data(name, vec![Data::Integer(bytes)], Context::default()).await },
        )
    };
    for _ in 0..2 {
        let held = begin("app:holds", 20 << 20);
        until(|| loader.memory().used >= 20 << 20).await;
        // A copy is on its way to what was called, beside the caller's own.
        let given = begin("app:gives", 12 << 20);
        until(|| loader.memory().used >= (20 + 2 * 12) << 20).await;
        let error = begin("app:holds", 100 << 20).await.unwrap().unwrap_err();
        assert!(
            error.message().contains("limit `wasm.total.max_memory_bytes` of 134217728 was reached"),
            "{error}"
        );
        held.abort();
        given.abort();
        until(|| loader.memory().used == 0).await;
    }
}

/// A guest that gives the host more than it takes at once.
#[tokio::test]
async fn copies_for_the_host_up_to_their_limit() {
    let source = r#"(component
      (import "acme:host/sink@1.0.0" (instance $sink (export "take" (func (param "bytes" (list u8))))))
      (core module $memory (memory (export "memory") 1))
      (core instance $memory (instantiate $memory))
      (core func $take (canon lower (func $sink "take") (memory $memory "memory")))
      (core module $module
        (import "memory" "memory" (memory 1))
        (import "sink" "take" (func $take (param i32 i32)))
        (func (export "give") (param $bytes i32)
          (drop (memory.grow (i32.const 2100)))
          (call $take (i32.const 0) (local.get $bytes))))
      (core instance $instance (instantiate $module
        (with "memory" (instance $memory))
        (with "sink" (instance (export "take" (func $take))))))
      (func (export "give") (param "bytes" u32) (canon lift (core func $instance "give"))))"#;
    let built = Registry::new().wat("give", source, "method: give\nimports: [\"acme:host/sink\"]").build();
    let builder = Loader::builder().host_interface("acme:host/sink@1.0.0", |interface| {
        interface.func_wrap("take", |_, (_,): (Vec<u8>,)| Ok(()))
    });
    let loader = builder.open(&built).unwrap();
    let most = u32::try_from(HOSTCALL_BYTES_MAX).unwrap();
    for _ in 0..2 {
        assert_eq!(call(&loader, "give", &[Val::U32(most)]).await, Ok(None));
        let (kind, message) = failure(&loader, "give", &[Val::U32(most + 1)]).await;
        assert_eq!(kind, ErrorKind::Internal);
        assert!(message.contains("fuel allocated for hostcalls has been exhausted"), "{message}");
    }
}

/// What does not fit the memory that is reserved for instances is allocated on demand; fresh for each call, both.
#[tokio::test]
async fn components_of_every_size_run() {
    let parts = |count: u32, part: &str| part.repeat(count as usize);
    let touch = r#"(func (export "touch") (result i32)
      (i32.store (i32.const 70000) (i32.add (i32.load (i32.const 70000)) (i32.const 1)))
      (i32.load (i32.const 70000)))"#;
    let sizes = [
        ("one", "(memory 2)".to_owned(), ""),
        ("many-memories", parts(20, "(memory 2)"), ""),
        ("many-tables", format!("(memory 2) {}", parts(40, "(table 7 funcref)")), ""),
        ("large-table", "(memory 2) (table 900000 funcref)".to_owned(), ""),
        ("larger-table", "(memory 2) (table 2000000 funcref)".to_owned(), "max_table_elements: 3000000"),
        ("large-memory", "(memory 3200)".to_owned(), ""),
        ("larger-memory", "(memory 16384)".to_owned(), "max_memory_bytes: 2147483648"),
        ("largest-memory", "(memory 2)".to_owned(), "max_memory_bytes: 8589934592"),
    ];
    let mut registry = Registry::new();
    for (name, parts, limits) in &sizes {
        let more = format!("wit: \"touch: func() -> u32\"\nmethod: touch\nlimits: {{{limits}}}");
        registry = registry.wat(name, &format!("(module {parts} {touch})"), &more);
    }
    let built = registry.build();
    for allocation in [Allocation::Reserved, Allocation::OnDemand] {
        let options = Options { allocation, memory_bytes_max: Some(16 << 30), ..Options::default() };
        let loader = Loader::builder().options(options).open(&built).unwrap();
        for (name, ..) in &sizes {
            for _ in 0..3 {
                expect_number(&loader, name, 1).await;
            }
        }
        assert_eq!((loader.instances().live, loader.memory().used), (0, 0));
    }
}
