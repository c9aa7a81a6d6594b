//! Token stores: they issue tokens for an actor and a scope, and give both back for a token
//! (`en/system/security.md`, "Token Stores").
//!
//! A token is random bytes in URL-safe base64 without padding, since it may stand in a query; when the store
//! has a key, a point and the HMAC-SHA256 of that text in hexadecimal follow. Only a digest of it is kept.
//! One that is unknown, expired, revoked or wrongly signed is refused with the same words.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use registry_schema::authored::security::TokenStore as Authored;
use registry_schema::manifest::Entry;
use registry_schema::{EntryId, ErrorKind};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::store::{Inserted, Key, MemoryStore};
use super::{Actor, Scope, check_meta};
use crate::config::{TOKEN_BYTES, TOKEN_BYTES_MAX, TOKEN_LIFE};
use crate::data::Data;
use crate::environment::Environment;
use crate::error::Error;

/// The kind of entries that are token stores.
pub(super) const KIND: &str = "security.token_store";

/// Issues and checks tokens.
pub struct TokenStore {
    id: EntryId,
    store: Arc<MemoryStore<Token>>,
    random_bytes: usize,
    life: Duration,
    signature: Option<Hmac<Sha256>>,
}

/// What a token stands for.
#[derive(Debug)]
pub struct Token {
    actor: Arc<Actor>,
    scope: Arc<Scope>,
    meta: Data,
}

impl Token {
    /// Whom it was issued for.
    pub fn actor(&self) -> &Arc<Actor> {
        &self.actor
    }

    /// What its bearer may do.
    pub fn scope(&self) -> &Arc<Scope> {
        &self.scope
    }

    /// What was noted when it was issued.
    pub fn meta(&self) -> &Data {
        &self.meta
    }
}

/// What an entry says of its store; the store itself is another entry.
pub(super) struct Settings {
    pub(super) store: EntryId,
    random_bytes: usize,
    life: Duration,
    signature: Option<Hmac<Sha256>>,
}

impl Settings {
    /// Reads `entry`, its placeholders resolved.
    ///
    /// # Errors
    /// Why there can be no tokens. A key that is missing or empty is no reason to leave tokens unsigned.
    pub(super) fn read(entry: &Entry, environment: &Environment<'_>) -> Result<Self, String> {
        const KEYS: [&str; 5] = ["store", "token_length", "default_expiration", "token_key", "token_key_env"];
        let mut keys = entry.data.as_object().into_iter().flatten().map(|(key, _)| key);
        if let Some(key) = keys.find(|key| !KEYS.contains(&key.as_str())) {
            return Err(format!("the field `{key}` is not understood"));
        }
        let authored = Authored::deserialize(&entry.data).map_err(|error| error.to_string())?;
        let own = entry.id.namespace();
        let length = authored.token_length.as_ref();
        let length = length.map(|it| environment.resolve(own, "token_length", it)).transpose();
        let length = length.map_err(|error| error.message().to_owned())?.unwrap_or(TOKEN_BYTES);
        if !(1..=TOKEN_BYTES_MAX).contains(&length) {
            return Err(format!("`token_length`: found `{length}`, expected 1 to {TOKEN_BYTES_MAX}"));
        }
        let life = authored.default_expiration.as_ref();
        let life = life.map(|it| environment.resolve(own, "default_expiration", it)).transpose();
        let life = life.map_err(|error| error.message().to_owned())?;
        let key = key(&authored, entry, environment)?;
        Ok(Self {
            store: authored.store.resolve(own),
            random_bytes: length as usize,
            life: life.filter(|life| !life.is_zero()).map_or(TOKEN_LIFE, |life| life.get()),
            signature: key.map(|key| keyed(key.as_bytes())),
        })
    }
}

/// The key that tokens are signed with.
fn key(authored: &Authored, entry: &Entry, environment: &Environment<'_>) -> Result<Option<String>, String> {
    let own = entry.id.namespace();
    let message = |error: Error| error.message().to_owned();
    if let Some(name) = &authored.token_key_env {
        let name = environment.resolve(own, "token_key_env", name).map_err(message)?;
        let found = environment.find(own, &name).map_err(message)?;
        let value = found.map(|id| environment.variable(&id)).transpose().map_err(message)?.flatten();
        match value.filter(|value| !value.is_empty()) {
            Some(value) => return Ok(Some(value)),
            None if authored.token_key.is_none() => {
                return Err(format!("the variable `{name}` of `token_key_env` is not set"));
            }
            None => {}
        }
    }
    let Some(key) = &authored.token_key else { return Ok(None) };
    let key = environment.resolve(own, "token_key", key).map_err(message)?;
    if key.is_empty() { Err("`token_key` is empty".to_owned()) } else { Ok(Some(key)) }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("an HMAC takes keys of any length")
}

impl TokenStore {
    pub(super) fn new(id: EntryId, settings: Settings, store: Arc<MemoryStore<Token>>) -> Self {
        let Settings { random_bytes, life, signature, .. } = settings;
        Self { id, store, random_bytes, life, signature }
    }

    /// Its id.
    pub fn id(&self) -> &EntryId {
        &self.id
    }

    /// A new token for `actor` and `scope`, good for `life`, by default as long as the entry says.
    ///
    /// # Errors
    /// `INVALID` for a life of 0 or beyond the clock, and for metadata of more than
    /// [`crate::config::SECURITY_META_BYTES_MAX`] bytes; `UNAVAILABLE`, retryable, when the store is full;
    /// `INTERNAL` without random numbers.
    pub fn create(
        &self,
        actor: Arc<Actor>,
        scope: Arc<Scope>,
        life: Option<Duration>,
        meta: Data,
    ) -> Result<String, Error> {
        check_meta("token metadata", &meta)?;
        let life = life.unwrap_or(self.life);
        let expiry = Instant::now().checked_add(life).filter(|_| !life.is_zero());
        let expiry = expiry
            .ok_or_else(|| Error::new(ErrorKind::Invalid, format!("a token can't be good for {life:?}")))?;
        let mut random = vec![0; self.random_bytes];
        let message = |error| Error::new(ErrorKind::Internal, format!("no random numbers: {error}"));
        getrandom::fill(&mut random).map_err(message)?;
        let text = URL_SAFE_NO_PAD.encode(&random);
        match self.store.insert(self.key(&text), Token { actor, scope, meta }, expiry)? {
            Inserted::Done => Ok(self.signed(text)),
            // Only very short tokens ever meet: whoever holds the other one must not get this one's rights.
            Inserted::Taken => {
                let message =
                    format!("`{}` has no token of {} bytes left to give", self.id, self.random_bytes);
                Err(Error::new(ErrorKind::Unavailable, message).retryable())
            }
        }
    }

    /// What `token` stands for; `None` when it is unknown, expired, revoked or wrongly signed.
    pub fn validate(&self, token: &str) -> Option<Arc<Token>> {
        self.store.get(&self.key(self.verified(token)?))
    }

    /// Makes `token` worthless; whether it stood for anything.
    pub fn revoke(&self, token: &str) -> bool {
        self.verified(token).is_some_and(|text| self.store.remove(&self.key(text)))
    }

    /// The random part of a token, if it can be one of ours.
    fn verified<'a>(&self, token: &'a str) -> Option<&'a str> {
        // Longer ones would only be hashed for nothing.
        if token.len() > self.random_bytes * 2 + 80 {
            return None;
        }
        let Some(signature) = &self.signature else { return Some(token) };
        let (text, claimed) = token.rsplit_once('.')?;
        let claimed = hex_digits(claimed)?;
        // Compares in constant time.
        signature.clone().chain_update(text).verify_slice(&claimed).ok()?;
        Some(text)
    }

    fn signed(&self, text: String) -> String {
        match &self.signature {
            None => text,
            Some(signature) => {
                let bytes = signature.clone().chain_update(&text).finalize().into_bytes();
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("{text}.{hex}")
            }
        }
    }

    /// Several token stores may share one store: no token of one is good for another.
    fn key(&self, text: &str) -> Key {
        let id = self.id.to_string();
        Sha256::new().chain_update(id).chain_update([0]).chain_update(text).finalize().into()
    }
}

impl fmt::Debug for TokenStore {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenStore").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The bytes of lower-case hexadecimal digits: of two spellings of a token only one is a token.
fn hex_digits(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(bytes: usize, key: Option<&str>, values_max: usize) -> TokenStore {
        let settings = Settings {
            store: "app:data".parse().unwrap(),
            random_bytes: bytes,
            life: Duration::from_secs(60),
            signature: key.map(|key| keyed(key.as_bytes())),
        };
        TokenStore::new("app:tokens".parse().unwrap(), settings, Arc::new(MemoryStore::new(values_max)))
    }

    fn create(store: &TokenStore, life: Option<Duration>) -> Result<String, Error> {
        let actor = Actor::new("user:1", Data::Nil).unwrap();
        store.create(Arc::new(actor), Arc::default(), life, Data::Nil)
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_end_when_they_expire_or_are_revoked() {
        let store = store(32, None, 10);
        let (one, two) = (create(&store, None).unwrap(), create(&store, None).unwrap());
        assert_eq!((one.len(), one == two), (43, false));
        assert_eq!(store.validate(&one).unwrap().actor().id(), "user:1");
        assert!(store.revoke(&one));
        assert!(!store.revoke(&one));
        assert!(store.validate(&one).is_none());
        let short = create(&store, Some(Duration::from_secs(1))).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(store.validate(&short).is_none());
        assert!(store.validate(&two).is_some());
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(store.validate(&two).is_none());
        for life in [Duration::ZERO, Duration::MAX] {
            assert_eq!(create(&store, Some(life)).unwrap_err().kind(), ErrorKind::Invalid);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_its_own_signature_is_taken() {
        let signed = store(16, Some("secret"), 10);
        let token = create(&signed, None).unwrap();
        let (text, signature) = token.split_once('.').unwrap();
        assert_eq!((text.len(), signature.len()), (22, 64));
        assert!(signed.validate(&token).is_some());
        let mut forged = vec![
            String::new(),
            ".".to_owned(),
            text.to_owned(),
            format!("{text}."),
            format!("{text}.{}", signature.to_uppercase()),
            format!("{text}.{}", &signature[..62]),
            format!("{text}.{signature}00"),
            format!("{text}..{signature}"),
            format!("{text}.{signature}.{signature}"),
            format!(" {token}"),
            format!("{token}\0"),
            "x".repeat(1 << 20),
        ];
        for at in [0, 10, text.len() + 1, token.len() - 1] {
            let other = if token.as_bytes()[at] == b'0' { "1" } else { "0" };
            let mut changed = token.clone();
            changed.replace_range(at..=at, other);
            forged.push(changed);
        }
        for token in forged {
            assert!(signed.validate(&token).is_none(), "{token:?}");
            assert!(!signed.revoke(&token), "{token:?}");
        }
        assert!(signed.validate(&token).is_some());
        // Whoever can read the store but has no key can't make a token of what it holds.
        let other = TokenStore {
            id: signed.id.clone(),
            store: Arc::clone(&signed.store),
            random_bytes: 16,
            life: signed.life,
            signature: Some(keyed(b"guess")),
        };
        assert!(other.validate(&token).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_of_one_store_is_none_of_another() {
        let one = store(16, None, 10);
        let two = TokenStore {
            id: "app:two".parse().unwrap(),
            store: Arc::clone(&one.store),
            ..store(16, None, 1)
        };
        let token = create(&one, None).unwrap();
        assert!(two.validate(&token).is_none());
        assert!(!two.revoke(&token));
        assert!(one.validate(&token).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn short_tokens_run_out_rather_than_meet() {
        let store = store(1, None, 1000);
        let mut given = std::collections::HashSet::new();
        for _ in 0..2000 {
            match create(&store, None) {
                Ok(token) => assert!(given.insert(token)),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
            }
        }
        assert!(given.len() <= 256);
    }
}
