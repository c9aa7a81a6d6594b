//! What stands above `.wippy.yaml`: flags, and variables of the process's environment.

use std::collections::BTreeMap;

use super::Source;

/// Prefixes of the variables that are looked at. The last is that of OpenSSL, which other programs read as well.
const PREFIXES: [&str; 3] = ["WIPPY_", "OTEL_", "SSL_CERT_FILE"];

/// Values from flags and the environment. The default has none: a library does not read its process's
/// environment unless it is told to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// By path, with the values of the last flag for it: one, or those that it added.
    flags: BTreeMap<String, (&'static str, Vec<String>)>,
    variables: BTreeMap<String, String>,
    bundle: Layer,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Layer {
    #[default]
    Read,
    Ignored,
}

impl Overrides {
    /// The environment of this process.
    pub fn from_environment() -> Self {
        let variables = std::env::vars_os();
        Self::default().environment(
            variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    /// No setting of the bundle, only defaults: for who looks at a bundle away from where it is deployed.
    pub fn defaults_only() -> Self {
        Self { bundle: Layer::Ignored, ..Self::default() }
    }

    /// Adds variables of an environment; those of other names than `WIPPY_…`, `OTEL_…` and `SSL_CERT_FILE`, and
    /// empty ones, are ignored.
    #[must_use]
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let ours =
            |name: &str, value: &str| !value.is_empty() && PREFIXES.iter().any(|p| name.starts_with(p));
        self.variables.extend(variables.into_iter().filter(|(name, value)| ours(name, value)));
        self
    }

    /// Sets the setting `path` to `value`, as `flag` does.
    #[must_use]
    pub fn flag(mut self, flag: &'static str, path: &str, value: &str) -> Self {
        self.flags.insert(path.to_owned(), (flag, vec![value.to_owned()]));
        self
    }

    /// Adds `value` to the list `path`, as a flag does that may be repeated. Its first value stands for what other
    /// flags have set.
    #[must_use]
    pub fn add(mut self, flag: &'static str, path: &str, value: &str) -> Self {
        let (by, values) = self.flags.entry(path.to_owned()).or_insert((flag, Vec::new()));
        if *by != flag {
            *by = flag;
            values.clear();
        }
        values.push(value.to_owned());
        self
    }

    /// Takes the argument of `--set`.
    ///
    /// # Errors
    /// When it is not of the form `SECTION.KEY=VALUE`.
    pub fn set(self, argument: &str) -> Result<Self, String> {
        match argument.split_once('=') {
            Some((path, value)) if path.contains('.') => Ok(self.flag("--set", path, value)),
            _ => Err(format!(
                "`--set {argument}`: expected SECTION.KEY=VALUE, as in `prometheus.enabled=true`"
            )),
        }
    }

    /// Paths that flags set.
    pub(super) fn paths(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.flags.iter().map(|(path, (flag, _))| (path.as_str(), *flag))
    }

    /// Whether the sections of the bundle count.
    pub(super) fn reads_bundle(&self) -> bool {
        self.bundle == Layer::Read
    }

    /// What flags give for `path`: of those that add, each value; else one.
    pub(super) fn values(&self, path: &str) -> Option<(&'static str, &[String])> {
        self.flags.get(path).map(|(flag, values)| (*flag, values.as_slice()))
    }

    /// What sets `path`: a flag, else its own variable, else the first of `aliases`.
    pub(super) fn get(&self, path: &str, aliases: &[&str]) -> Option<(Source, &str)> {
        if let Some((flag, value)) = self.flags.get(path).and_then(|(flag, all)| Some((flag, all.last()?))) {
            return Some((Source::Flag(flag), value));
        }
        if self.variables.is_empty() {
            return None;
        }
        let own = variable(path);
        let names = std::iter::once(own.as_str()).chain(aliases.iter().copied());
        names.filter_map(|name| self.variable(name)).next()
    }

    /// A variable of the environment.
    pub(super) fn variable(&self, name: &str) -> Option<(Source, &str)> {
        let value = self.variables.get(name)?;
        Some((Source::Environment(name.to_owned()), value))
    }
}

/// The variable that sets `path`.
fn variable(path: &str) -> String {
    let mut name = "WIPPY_".to_owned();
    name.extend(path.chars().map(|char| if char == '.' { '_' } else { char.to_ascii_uppercase() }));
    name
}
