//! What an invocation may do.

use std::sync::Arc;

use crate::error::Error;
use crate::lua::host::Host;

/// Whether the invocation may do `action` on `resource`; the error that its function answers if not.
pub(super) fn allowed(host: &Host, action: &str, resource: &str) -> mlua::Result<Result<(), Error>> {
    let (inner, context) = host.with(|current| (Arc::clone(&current.inner), current.context.clone()))?;
    Ok(inner.allowed(&context, action, resource))
}
