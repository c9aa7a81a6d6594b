//! Which route answers a path: `/users/{id}`, `/users/:id`, `/files/{rest...}`.
//!
//! A path is cut at its slashes, and each part is decoded by itself, so that an encoded slash never becomes
//! a border. A literal is preferred to a parameter and a parameter to a rest, part by part from the left. A
//! slash at the end makes no difference, in patterns and in paths.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use http::Method;

/// The routes of one router: `T` is what a route leads to.
#[derive(Debug)]
pub(super) struct Routes<T> {
    root: Node<T>,
}

impl<T> Default for Routes<T> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

#[derive(Debug)]
struct Node<T> {
    literals: HashMap<String, Node<T>>,
    parameter: Option<Box<Node<T>>>,
    rest: Option<Leaf<T>>,
    here: Option<Leaf<T>>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literals: HashMap::new(), parameter: None, rest: None, here: None }
    }
}

/// What ends at a place, by method name.
#[derive(Debug)]
struct Leaf<T>(BTreeMap<String, Route<T>>);

#[derive(Debug)]
struct Route<T> {
    /// Names of the parameters on the way, in order.
    names: Vec<String>,
    to: T,
}

/// Parameters of a path by name, decoded.
pub(crate) type Parameters = BTreeMap<String, String>;

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'r, T> {
    Route(&'r T, Parameters),
    /// The path is known, for these methods.
    Methods(Vec<&'r str>),
    Nothing,
}

/// A part of a pattern.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Parameter(String),
    Rest,
}

impl<T> Routes<T> {
    /// Adds a route; gives it back when there is one for the same method and the same paths.
    ///
    /// # Errors
    /// What is wrong with `pattern`.
    pub(super) fn add(&mut self, method: &str, pattern: &str, to: T) -> Result<Option<T>, String> {
        let mut names = Vec::new();
        let mut node = &mut self.root;
        let mut rest = false;
        for part in parse(pattern)? {
            match part {
                Part::Literal(text) => node = node.literals.entry(text).or_default(),
                Part::Parameter(name) => {
                    if names.contains(&name) {
                        return Err(format!("the pattern `{pattern}` has two parameters `{name}`"));
                    }
                    names.push(name);
                    node = node.parameter.get_or_insert_default();
                }
                // What it took can't be asked for (`en/http/router.md`, "Wildcard Paths").
                Part::Rest => rest = true,
            }
        }
        let leaf = if rest { &mut node.rest } else { &mut node.here };
        let routes = &mut leaf.get_or_insert_with(|| Leaf(BTreeMap::new())).0;
        if routes.contains_key(method) {
            return Ok(Some(to));
        }
        routes.insert(method.to_owned(), Route { names, to });
        Ok(None)
    }

    /// What every route leads to.
    pub(super) fn all(&self) -> Vec<&T> {
        let mut nodes = vec![&self.root];
        let mut all = Vec::new();
        while let Some(node) = nodes.pop() {
            let leaves = node.here.iter().chain(&node.rest);
            all.extend(leaves.flat_map(|leaf| leaf.0.values().map(|route| &route.to)));
            nodes.extend(node.literals.values().chain(node.parameter.as_deref()));
        }
        all
    }

    /// What `path` leads to. A route for `GET` answers `HEAD` as well, unless there is one of its own.
    ///
    /// # Errors
    /// What can't be decoded.
    pub(super) fn find(&self, method: &Method, path: &str) -> Result<Found<'_, T>, String> {
        let parts = decoded(path)?;
        let mut search = Search { method: method.as_str(), values: Vec::new(), methods: Vec::new() };
        if let Some((route, taken)) = search.visit(&self.root, &parts) {
            let parameters = route.names.iter().cloned().zip(taken).collect();
            return Ok(Found::Route(&route.to, parameters));
        }
        if search.methods.is_empty() {
            return Ok(Found::Nothing);
        }
        search.methods.sort_unstable();
        search.methods.dedup();
        Ok(Found::Methods(search.methods))
    }
}

/// The part of all paths of a router that they have in common.
#[derive(Debug, Default)]
pub(super) struct Prefix(Vec<Part>);

impl Prefix {
    /// # Errors
    /// What is wrong with `prefix`.
    pub(super) fn parse(prefix: &str) -> Result<Self, String> {
        let parts = parse(prefix)?;
        match parts.contains(&Part::Rest) {
            true => Err(format!("the prefix `{prefix}` can't take the rest of a path")),
            false => Ok(Self(parts)),
        }
    }

    /// How many parts it has.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether `path` begins with it; one that can't be decoded begins with nothing.
    pub(super) fn covers(&self, path: &str) -> bool {
        let Ok(parts) = decoded(path) else { return self.0.is_empty() };
        let fits = |(own, part): (&Part, &Cow<'_, str>)| match own {
            Part::Literal(text) => text == part.as_ref(),
            Part::Parameter(_) | Part::Rest => true,
        };
        parts.len() >= self.0.len() && self.0.iter().zip(&parts).all(fits)
    }
}

struct Search<'m, 'r> {
    method: &'m str,
    /// Values of the parameters on the way to where the search is.
    values: Vec<String>,
    /// Of the leaves that fit but for the method.
    methods: Vec<&'r str>,
}

impl<'r> Search<'_, 'r> {
    fn visit<T>(&mut self, node: &'r Node<T>, parts: &[Cow<'_, str>]) -> Option<(&'r Route<T>, Vec<String>)> {
        let Some((part, others)) = parts.split_first() else {
            return self.leaf(node.here.as_ref()).or_else(|| self.leaf(node.rest.as_ref()));
        };
        if let Some(next) = node.literals.get(part.as_ref())
            && let Some(found) = self.visit(next, others)
        {
            return Some(found);
        }
        if let Some(next) = &node.parameter {
            self.values.push(part.clone().into_owned());
            let found = self.visit(next, others);
            self.values.pop();
            if found.is_some() {
                return found;
            }
        }
        self.leaf(node.rest.as_ref())
    }

    fn leaf<T>(&mut self, leaf: Option<&'r Leaf<T>>) -> Option<(&'r Route<T>, Vec<String>)> {
        let routes = &leaf?.0;
        let own = routes.get(self.method);
        let route = own.or_else(|| (self.method == "HEAD").then(|| routes.get("GET")).flatten());
        if let Some(route) = route {
            return Some((route, self.values.clone()));
        }
        self.methods.extend(routes.keys().map(String::as_str));
        if routes.contains_key("GET") {
            self.methods.push("HEAD");
        }
        None
    }
}

/// The parts of a pattern.
fn parse(pattern: &str) -> Result<Vec<Part>, String> {
    let parts: Vec<&str> = parts(pattern).collect();
    let wrong = |part: &str, what: &str| format!("the pattern `{pattern}` has the part `{part}`: {what}");
    let mut parsed = Vec::with_capacity(parts.len());
    for (index, &part) in parts.iter().enumerate() {
        let braced = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let named = braced.or_else(|| part.strip_prefix(':'));
        let Some(name) = named else {
            if part.contains(['{', '}']) {
                return Err(wrong(part, "a parameter is a whole part, as in `/users/{id}`"));
            }
            parsed.push(Part::Literal(decode(part).map_err(|problem| wrong(part, &problem))?.into_owned()));
            continue;
        };
        let (name, rest) = match name.strip_suffix("...") {
            Some(name) => (name, true),
            None => (name, false),
        };
        if name.is_empty() || name.contains(['{', '}', ':', '.']) {
            return Err(wrong(part, "expected a name"));
        }
        if rest && index + 1 < parts.len() {
            return Err(wrong(part, "only the last part can take the rest"));
        }
        parsed.push(if rest { Part::Rest } else { Part::Parameter(name.to_owned()) });
    }
    Ok(parsed)
}

/// Between the slashes, without the empty parts at both ends.
fn parts(path: &str) -> impl Iterator<Item = &str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/').filter(move |_| !path.is_empty())
}

/// Whether `path` can be decoded.
///
/// # Errors
/// What can't be.
pub(super) fn check(path: &str) -> Result<(), String> {
    decoded(path).map(|_| ())
}

fn decoded(path: &str) -> Result<Vec<Cow<'_, str>>, String> {
    parts(path).map(decode).collect()
}

/// `text` with its `%XX` as the bytes that they stand for.
///
/// # Errors
/// For a `%` without two digits, and for bytes that are no UTF-8.
pub(super) fn decode(text: &str) -> Result<Cow<'_, str>, String> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte != b'%' {
            out.push(byte);
            at += 1;
            continue;
        }
        let (Some(high), Some(low)) = (digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) else {
            return Err("`%` without two hexadecimal digits".to_owned());
        };
        out.push(u8::try_from(high * 16 + low).unwrap_or_default());
        at += 3;
    }
    String::from_utf8(out).map(Cow::Owned).map_err(|_| "encoded bytes that are no UTF-8".to_owned())
}

/// The pairs of a query in order, decoded; what can't be decoded stays as it is.
pub(crate) fn query_pairs(query: &str) -> Vec<(String, String)> {
    let plain = |text: &str| {
        let text = text.replace('+', " ");
        decode(&text).map(Cow::into_owned).unwrap_or(text)
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(name, value)| (plain(name), plain(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(patterns: &[(&str, &str)]) -> Routes<String> {
        let mut routes = Routes::default();
        for (method, pattern) in patterns {
            assert_eq!(routes.add(method, pattern, format!("{method} {pattern}")), Ok(None));
        }
        routes
    }

    fn found(routes: &Routes<String>, method: &Method, path: &str) -> String {
        match routes.find(method, path).unwrap() {
            Found::Route(to, parameters) if parameters.is_empty() => to.clone(),
            Found::Route(to, parameters) => format!("{to} {parameters:?}"),
            Found::Methods(methods) => methods.join(","),
            Found::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn the_more_particular_route_wins() {
        let routes = routes(&[
            ("GET", "/users/{id}"),
            ("GET", "/users/me"),
            ("POST", "/users/:id/posts"),
            ("GET", "/users/{user}/posts/{post}"),
            ("GET", "/files/{path...}"),
            ("GET", "/files/list"),
            ("GET", "/"),
        ]);
        let get = |path| found(&routes, &Method::GET, path);
        assert_eq!(get("/users/me"), "GET /users/me");
        assert_eq!(get("/users/7/"), r#"GET /users/{id} {"id": "7"}"#);
        assert_eq!(get("/users/a%2Fb"), r#"GET /users/{id} {"id": "a/b"}"#);
        assert_eq!(get("/users/me/posts/9"), r#"GET /users/{user}/posts/{post} {"post": "9", "user": "me"}"#);
        assert_eq!(found(&routes, &Method::POST, "/users/1/posts"), r#"POST /users/:id/posts {"id": "1"}"#);
        assert_eq!(get("/files/list"), "GET /files/list");
        assert_eq!(get("/files/list/more"), "GET /files/{path...}");
        assert_eq!(get("/files"), "GET /files/{path...}");
        assert_eq!(get("/"), "GET /");
        assert_eq!(get("/nowhere"), "nothing");
        assert_eq!(get("//users/7"), "nothing");
    }

    #[test]
    fn a_known_path_names_its_methods() {
        let routes = routes(&[("GET", "/a/{x}"), ("PUT", "/a/b"), ("DELETE", "/a/{y...}")]);
        assert_eq!(found(&routes, &Method::POST, "/a/b"), "DELETE,GET,HEAD,PUT");
        assert_eq!(found(&routes, &Method::HEAD, "/a/b"), r#"GET /a/{x} {"x": "b"}"#);
        assert_eq!(found(&routes, &Method::DELETE, "/a/b"), "DELETE /a/{y...}");
    }

    #[test]
    fn patterns_are_checked() {
        let mut routes = Routes::default();
        let mut wrong = |pattern| routes.add("GET", pattern, ()).unwrap_err();
        assert!(wrong("/a/{rest...}/b").contains("only the last part"));
        assert!(wrong("/a/{id}.json").contains("a whole part"));
        assert!(wrong("/a/{}").contains("expected a name"));
        assert!(wrong("/{a}/{a}").contains("two parameters `a`"));
        assert_eq!(routes.add("GET", "/x/{a}", ()), Ok(None));
        assert_eq!(routes.add("GET", "/x/:b/", ()), Ok(Some(())));
        assert!(routes.find(&Method::GET, "/x/%zz").is_err());
        assert!(routes.find(&Method::GET, "/x/%ff").is_err());
    }

    #[test]
    fn prefixes_end_between_parts() {
        let prefix = Prefix::parse("/api/{version}/").unwrap();
        assert_eq!(prefix.len(), 2);
        assert!(prefix.covers("/api/v1") && prefix.covers("/api/v2/users"));
        assert!(!prefix.covers("/api") && !prefix.covers("/apis/v1"));
        assert!(Prefix::parse("/").unwrap().covers("/") && Prefix::default().covers("/%zz"));
        assert!(Prefix::parse("/{rest...}").is_err());
    }

    #[test]
    fn queries_keep_their_order() {
        let pairs = query_pairs("a=1&b=x+y%21&a=2&c&=d&%zz=1");
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("a", "1"), ("b", "x y!"), ("a", "2"), ("c", ""), ("", "d"), ("%zz", "1")]);
    }
}
