//! `token_auth`: who asks, by a token of a store. It refuses nobody; firewalls do.

use std::sync::Arc;

use http::HeaderName;
use registry_schema::{EntryRef, Namespace};

use crate::http::fields::Options;
use crate::http::visit::Visit;
use crate::loader::Loader;
use crate::security::TokenStore;

pub(super) struct TokenAuth {
    store: Arc<TokenStore>,
    header: HeaderName,
    prefix: String,
    query: String,
    cookie: String,
}

impl TokenAuth {
    pub(super) fn new(loader: &Loader, own: &Namespace, options: &Options) -> Result<Self, String> {
        let options = options
            .of("token_auth", &["store", "header.name", "header.prefix", "query.param", "cookie.name"])?;
        let store = options.text("store").ok_or("`token_auth` needs the option `token_auth.store`")?;
        let store: EntryRef =
            store.parse().map_err(|error| format!("the option `token_auth.store`: {error}"))?;
        let header = options.text("header.name").unwrap_or("Authorization");
        let text = |name: &str, default: &str| options.text(name).unwrap_or(default).to_owned();
        Ok(Self {
            store: loader.token_store(&store.resolve(own)).map_err(|error| error.message().to_owned())?,
            header: header
                .parse()
                .map_err(|_| format!("the option `token_auth.header.name`: `{header}` is no header"))?,
            prefix: text("header.prefix", "Bearer "),
            query: text("query.param", "x-auth-token"),
            cookie: text("cookie.name", "x-auth-token"),
        })
    }

    /// Gives the request actor and scope of its token, if it has a good one.
    pub(super) fn before(&self, visit: &mut Visit) {
        let in_header = visit.header(self.header.as_str()).and_then(|value| value.strip_prefix(&self.prefix));
        let token = in_header.map(str::to_owned).or_else(|| visit.query_value(&self.query));
        let token = token.or_else(|| visit.cookie(&self.cookie).map(str::to_owned));
        let Some(token) = token.and_then(|token| self.store.validate(token.trim())) else { return };
        let (actor, scope) = (Arc::clone(token.actor()), Arc::clone(token.scope()));
        visit.context = std::mem::take(&mut visit.context).with_actor(Some(actor)).with_scope(Some(scope));
        visit.identified = true;
    }
}
