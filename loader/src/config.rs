//! Every limit of the loader, its default, and the options an embedder sets.

use std::path::PathBuf;
use std::time::Duration;

use registry_schema::Target;

use crate::mapping::Sealing;
use crate::settings::Overrides;
use crate::trust::Trust;

/// Interval of the ticker that raises the epoch while a guest runs.
pub const TICK: Duration = Duration::from_millis(5);
/// Default of all memories of an instance together, in bytes (`limits.max_memory_bytes`).
pub const MEMORY_BYTES_MAX: u64 = 256 << 20;
/// Default of all tables of an instance together, in elements (`limits.max_table_elements`).
pub const TABLE_ELEMENTS_MAX: u64 = 1_000_000;
/// Default of core instances in a call (`limits.max_instances`).
pub const INSTANCES_MAX: u64 = 1_000;
/// Memories of an instance; each takes 4 GiB of address space.
pub const INSTANCE_MEMORIES_MAX: u32 = 1_000;
/// Tables of an instance.
pub const INSTANCE_TABLES_MAX: u32 = 1_000;
/// Default of the instances that functions have at once, over all of them and both engines, idle ones that are
/// kept included (`wasm.total.max_instances`). How many processes there may be depends on the machine.
pub const PROCESS_INSTANCES_MAX: u32 = 1_000;
/// Memories of an instance that are reserved at boot; a component with more is allocated on demand.
pub const RESERVED_MEMORIES_MAX: u32 = 4;
/// Tables of an instance that are reserved at boot; a component with more is allocated on demand.
pub const RESERVED_TABLES_MAX: u32 = 8;
/// Address space that is reserved for memories, in bytes: half of what a process has on x86-64. With more
/// instances each has fewer memories.
pub const RESERVED_BYTES_MAX: u64 = 64 << 40;
/// What the engine keeps of an instance beside memories and tables, in bytes; by its functions and globals.
pub const INSTANCE_METADATA_BYTES_MAX: usize = 64 << 20;
/// Memory that a slot of the reservation keeps for its next instance, in bytes of each memory: clearing it is
/// faster than having the system take it away and give it back. Where the kernel tells (`PAGEMAP_SCAN`, Linux 6.7),
/// so much of what was touched, wherever it lies; elsewhere so much from the memory's start.
/// `loader/benches/resident.rs` compares.
pub const MEMORY_KEPT_BYTES: usize = 256 << 10;
/// The same of each table.
pub const TABLE_KEPT_BYTES: usize = 16 << 10;
/// Default of the memory that all guests have together, over both engines and Lua: so many parts out of so
/// many of the machine's, or of the control group's (`wasm.total.max_memory_bytes`).
pub const PROCESS_MEMORY_SHARE: (u64, u64) = (3, 4);
/// What a guest may pass to the host in one call, in bytes as they lie in the host's memory.
pub const HOSTCALL_BYTES_MAX: usize = 128 << 20;
/// Handles that a guest has at once: resources of its host, and those of its own, tasks, streams and futures.
/// Behind each is memory of the host that no limit of the guest's memory sees.
pub const HANDLES_MAX: usize = 10_000;
/// What the host keeps for a guest's handles of tasks, streams and futures: some parts for each of
/// [`HANDLES_MAX`].
pub const HANDLE_PARTS_MAX: usize = 4 * HANDLES_MAX;
/// Descriptors, streams and lists of files and folders that a guest has open at once, its mounts included.
pub const FILES_OPEN_MAX: usize = 256;
/// Memory of headers, methods and addresses of HTTP that a guest has at once, in bytes. It counts towards the
/// memory of all guests.
pub const HTTP_FIELDS_BYTES_MAX: u64 = 64 << 20;
/// Part of a body that a guest gives to `wasi:http` at once, in bytes: as much waits for each of its bodies.
pub const HTTP_PART_BYTES: usize = 64 << 10;
/// Default of the slots of a `static` pool (`pool.workers`, `pool.size`).
pub const POOL_SLOTS_STATIC: usize = 8;
/// Default of the slots of a `lazy` or `adaptive` pool (`pool.max_size`).
pub const POOL_SLOTS_MAX: usize = 16;
/// Default of the slots of a function that says nothing of its pool.
pub const POOL_SLOTS_IMPLICIT: usize = 100;
/// Most threads of a worker class that no function of it gives a number of, without cores of their own
/// (`pool.workers`).
pub const WORKERS_MAX: usize = 4;
/// Default of the places in a pool's queue, for each slot (`pool.buffer`).
pub const POOL_BUFFER_PER_SLOT: usize = 64;
/// Calls that wait at once for slots of one function, in its queue or for a place in it, and for instances of
/// the process: one more fails at once.
pub const POOL_WAITING_MAX: usize = 100_000;
/// Longest wait for a slot and for an instance of a call without a deadline.
pub const POOL_WAIT_MAX: Duration = Duration::from_secs(30);
/// Longest wait of a call whose caller holds a slot.
pub const POOL_WAIT_NESTED_MAX: Duration = Duration::from_secs(1);
/// A call that has waited for so long makes an `adaptive` pool grow by one slot.
pub const POOL_GROW_DELAY: Duration = Duration::from_millis(10);
/// A slot and a kept instance that were idle for so long go.
pub const POOL_IDLE_MAX: Duration = Duration::from_secs(30);
/// Default of the calls that one instance serves where instances are kept (`pool.max_uses`).
pub const POOL_USES_MAX: u32 = 1_000;
/// Default of the memory of an instance that is still kept, in bytes (`limits.max_retained_memory_bytes`).
pub const RETAINED_MEMORY_BYTES_MAX: u64 = 64 << 20;
/// Stack of a guest, in bytes; deeper recursion is a trap.
pub const GUEST_STACK_BYTES: usize = 512 << 10;
/// Stack of a fibre: the guest's and that of the host functions that it calls, in bytes.
pub const FIBRE_STACK_BYTES: usize = 2 << 20;
/// Longest line of a guest's output that is logged as one, in bytes; a longer one is split.
pub const LOG_LINE_BYTES_MAX: usize = 16 << 10;
/// Largest file of a key that bundles are checked with, in bytes; one has about a hundred.
pub const KEY_FILE_BYTES_MAX: u64 = 16 << 10;
/// Largest deny list, in bytes: some tens of thousands of lines.
pub const DENY_LIST_BYTES_MAX: u64 = 4 << 20;

/// Deepest nesting of a table that leaves its Lua invocation.
pub const LUA_NESTING_MAX: usize = 128;
/// Frames of the stack that an error object made in Lua keeps.
pub const LUA_STACK_FRAMES_MAX: usize = 64;
/// Deepest nesting of JSON that Lua reads or writes.
pub const JSON_NESTING_MAX: usize = 128;
/// Largest text that `json.encode` makes, in bytes: tables that share parts can be far larger as text.
pub const JSON_BYTES_MAX: usize = 64 << 20;
/// Largest JSON schema, in bytes of its text.
pub const JSON_SCHEMA_BYTES_MAX: usize = 256 << 10;
/// Compiled schemas that a Lua state keeps; one more empties the store.
pub const JSON_SCHEMAS_KEPT_MAX: usize = 32;
/// Steps of one validation: a schema's references can multiply them without end.
pub const JSON_SCHEMA_STEPS_MAX: u64 = 4_000_000;
/// Calls of `funcs.async` under way in one Lua invocation.
pub const LUA_CALLS_MAX: usize = 10_000;
/// Coroutines of `coroutine.spawn` in one Lua invocation.
pub const LUA_COROUTINES_MAX: usize = 100_000;
/// Timers and tickers under way in one Lua invocation.
pub const LUA_TIMERS_MAX: usize = 10_000;
/// Largest file of a time zone that is read, in bytes; the system's have a few thousand.
pub const ZONE_FILE_BYTES_MAX: u64 = 1 << 20;
/// Longest name of a time zone, in bytes.
pub const ZONE_NAME_BYTES_MAX: usize = 255;
/// Time zones that are kept once they were read, twice as many as there are; others are read each time.
pub const ZONES_KEPT_MAX: usize = 1_200;
/// Fields of one record of the log; further ones are dropped.
pub const LOG_FIELDS_MAX: usize = 64;
/// Longest regular expression of a filter of `registry.find`, in bytes.
pub const REGISTRY_PATTERN_BYTES_MAX: usize = 4 << 10;
/// Operations of one changeset of the module `registry`.
pub const REGISTRY_CHANGES_MAX: usize = 10_000;
/// Volumes, files and scanners that one Lua invocation has open.
pub const FS_OPEN_MAX: usize = 64;
/// Largest file that Lua reads at once, in bytes; larger ones are read in parts.
pub const FS_READ_BYTES_MAX: u64 = 64 << 20;
/// Most bytes that one `read` of an open file gives.
pub const FS_CHUNK_BYTES_MAX: usize = 16 << 20;
/// Longest token of a scanner, in bytes.
pub const FS_TOKEN_BYTES_MAX: usize = 256 << 10;
/// Items of a folder that are listed; one with more fails.
pub const FS_LIST_MAX: usize = 100_000;
/// Longest path inside a volume, in bytes: what systems take.
pub const FS_PATH_BYTES_MAX: usize = 4_095;
/// Memory outside of Lua that one invocation holds: what its errors and loggers say, files and bodies of requests
/// on their way, arguments of its calls, in bytes.
pub const LUA_HELD_BYTES_MAX: usize = 128 << 20;
/// Memory of one Lua invocation, in bytes.
pub const LUA_MEMORY_BYTES_MAX: usize = 256 << 20;
/// By so many bytes the memory of a Lua state differs from what was counted last when it is counted again, as a
/// coroutine begins to wait: the less, the more often.
pub const LUA_COUNTED_BYTES: u64 = 64 << 10;
/// Instructions that a Lua coroutine runs before others get their turn.
pub const LUA_INSTRUCTIONS_PER_TURN: u32 = 20_000;
/// Memory of a Lua state, in bytes, up to which it has [`LUA_INSTRUCTIONS_PER_TURN`]; with more it has as many less,
/// since one instruction may copy or compare as much: 4 MiB.
pub const LUA_BYTES_PER_TURN: usize = 4 << 20;
/// Steps of one pattern on one text, and as many again as 64 for each byte of it: some tenths of a second.
pub const LUA_PATTERN_STEPS_MAX: u64 = 50_000_000;
/// Steps that Lua's own functions for patterns may take on end, which nothing can interrupt: a millisecond or less.
/// They are used where a pattern takes no more on any text that is as long; others look at the deadline.
pub const LUA_PATTERN_STEPS_UNSEEN: u64 = 1 << 20;
/// Longest text that is left to Lua's own functions for patterns, in bytes, however few steps a pattern takes.
pub const LUA_PATTERN_TEXT_BYTES_UNSEEN: u64 = 1 << 20;
/// Patterns of which a Lua state knows how many steps they take; beyond them it forgets all.
pub const LUA_PATTERNS_KNOWN_MAX: usize = 256;
/// Longest pattern, and longest replacement, that a Lua state knows something of, in bytes.
pub const LUA_PATTERN_BYTES_KNOWN_MAX: usize = 256;
/// Turns that Lua coroutines which wake each other get before anything else is looked at.
pub const LUA_TURNS_AT_ONCE: u32 = 64;
/// Memory of a call's arguments that is not counted, in bytes: counting costs such a call more than the memory, and
/// [`LUA_CALLS_MAX`] bounds how many there are.
pub const LUA_CALL_BYTES_FREE: usize = 1 << 10;
/// Memory of values that leave a Lua invocation, in bytes: a table that is small where it comes from may hold
/// the same part many times.
pub const VALUE_BYTES_MAX: usize = 256 << 20;
/// Lua invocations under way in the process, those that wait for what they called included; one more waits as
/// a call does that finds no slot.
pub const LUA_STATES_MAX: usize = 4_096;
/// Memory of a Lua state from which on its garbage is collected after an invocation, in bytes.
pub const LUA_GARBAGE_BYTES_MAX: usize = 1 << 20;
/// Idle Lua states that are kept for the next invocations.
pub const LUA_IDLE_STATES_MAX: usize = 64;
/// Memory of a Lua state that is still kept after its invocation, in bytes.
pub const LUA_KEPT_BYTES_MAX: usize = 4 << 20;
/// Most attempts of a call that is repeated (`retry.max_attempts`).
pub const RETRY_ATTEMPTS_MAX: u32 = 100;
/// Longest wait between two attempts.
pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(3600);
/// Default of the time that services have to stop (`shutdown.timeout`).
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// Deepest nesting of calls: one more fails.
pub const CALL_DEPTH_MAX: u32 = 64;

/// Default of a service's longest start (`lifecycle.start_timeout`).
pub const SERVICE_START_TIMEOUT: Duration = Duration::from_secs(10);
/// Default of a service's longest stop (`lifecycle.stop_timeout`).
pub const SERVICE_STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Default of the time after which a service is stable (`lifecycle.stable_threshold`).
pub const SERVICE_STABLE: Duration = Duration::from_secs(5);
/// Default of the wait before the first restart (`lifecycle.restart.initial_delay`).
pub const SERVICE_DELAY_INITIAL: Duration = Duration::from_secs(1);
/// Default of the longest wait before a restart (`lifecycle.restart.max_delay`).
pub const SERVICE_DELAY_MAX: Duration = Duration::from_secs(90);
/// Default of the factor from one wait to the next (`lifecycle.restart.backoff_factor`).
pub const SERVICE_BACKOFF_FACTOR: f64 = 2.0;
/// Default of the random share of a wait (`lifecycle.restart.jitter`).
pub const SERVICE_JITTER: f64 = 0.1;

/// Processes that a loader has at once, if more fit; default of a host's (`host.max_processes`).
pub const PROCESSES_MAX: usize = 100_000;
/// Messages that wait in the mailbox of a process, and topics that it listens to.
pub const PROCESS_MAILBOX_MAX: usize = 10_000;
/// Messages that wait in the mailbox of a process, in bytes.
pub const PROCESS_MAILBOX_BYTES_MAX: usize = 64 << 20;
/// Events that a process awaits or has not taken.
pub const PROCESS_EVENTS_MAX: usize = 100_000;
/// Time that a cancelled process has to end by itself.
pub const PROCESS_CANCEL_GRACE: Duration = Duration::from_secs(5);
/// Default of the processes that wait for a worker (`host.queue_size`).
pub const HOST_QUEUE: usize = 1_024;
/// Default of the processes that wait for each worker besides (`host.local_queue_size`).
pub const HOST_LOCAL_QUEUE: usize = 256;
/// What a Lua process takes of memory at least, in bytes, for how many fit.
pub const LUA_STATE_BYTES: u64 = 512 << 10;
/// What an instance takes of memory at least, in bytes, for how many fit.
pub const INSTANCE_BYTES: u64 = 256 << 10;
/// Mappings that an instance takes: memory, stack and their guards.
pub const INSTANCE_MAPS: u64 = 8;
/// Address space that an instance takes, in bytes.
pub const INSTANCE_ADDRESS_BYTES: u64 = (4 << 30) + (64 << 20);
/// Bytes that `io.read` reads unless told otherwise.
pub const TERMINAL_READ_BYTES: usize = 1 << 10;
/// Most bytes that one `io.read` gives.
pub const TERMINAL_READ_BYTES_MAX: usize = 1 << 20;
/// Longest line that `io.readline` gives, in bytes; a longer one comes in parts.
pub const TERMINAL_LINE_BYTES_MAX: u64 = 1 << 20;

/// Deepest nesting of storages and of variables whose values name others.
pub const ENV_DEPTH_MAX: usize = 16;
/// Largest file of an `env.storage.file`, in bytes.
pub const ENV_FILE_BYTES_MAX: u64 = 1 << 20;
/// Value that Lua gives to a variable, in bytes.
pub const ENV_VALUE_BYTES_MAX: usize = 64 << 10;

/// Threads for what blocks (files, look-ups of names), in the runtimes that the loader makes: however many guests
/// wait for files, no more are needed. A program that brings its own runtime gives it this number as
/// `max_blocking_threads`.
pub const BLOCKING_THREADS_MAX: usize = 12;
/// The same for each thread of a worker class (`pool.worker_class`), which has a runtime of its own.
pub const WORKER_BLOCKING_THREADS_MAX: usize = 2;
/// Names whose addresses a guest looked up and that are known when it connects; the oldest give way.
pub const LOOKUP_ANSWERS_KEPT_MAX: usize = 256;
/// Default of the sockets that a guest has open at once (`limits.max_open_sockets`).
pub const SOCKETS_OPEN_MAX: u32 = 256;
/// Outgoing HTTP connections that are open at once; further requests wait for one.
pub const EGRESS_CONNECTIONS_MAX: usize = 1_024;
/// Those of one entry, a quarter: others are served while it waits for one.
pub const EGRESS_CONNECTIONS_PER_ENTRY_MAX: usize = EGRESS_CONNECTIONS_MAX / 4;
/// Idle outgoing connections that are kept.
pub const EGRESS_IDLE_MAX: usize = 256;
/// Idle outgoing connections of one entry to one server that are kept.
pub const EGRESS_IDLE_PER_SERVER_MAX: usize = 8;
/// How long an idle outgoing connection is kept.
pub const EGRESS_IDLE: Duration = Duration::from_secs(60);
/// Names that are looked up at once, for HTTP and for sockets: each holds a thread. Further look-ups wait.
pub const EGRESS_LOOKUPS_MAX: usize = 4;
/// Addresses of one name that are tried.
pub const EGRESS_ADDRESSES_MAX: usize = 16;
/// Headers of a response, and their bytes together; also of what a guest makes of headers.
pub const EGRESS_HEADERS_MAX: usize = 256;
/// See [`EGRESS_HEADERS_MAX`].
pub const EGRESS_HEADER_BYTES_MAX: usize = 128 << 10;
/// Longest wait for an outgoing connection. The addresses of a name share it: one that does not answer has its part.
pub const EGRESS_CONNECT: Duration = Duration::from_secs(30);
/// Longest wait from a request to the head of its response; `http_client` waits for its `timeout` if that is longer.
pub const EGRESS_FIRST_BYTE: Duration = Duration::from_secs(120);
/// Longest wait for the next part of a response, as above.
pub const EGRESS_BETWEEN_BYTES: Duration = Duration::from_secs(120);
/// Longest wait for a server to take more of a request.
pub const EGRESS_WRITE: Duration = Duration::from_secs(120);
/// Default of the longest time of a request of `http_client`, from its start to the end of its response, or to its
/// head where the response is a stream.
pub const HTTP_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest time of a request of `http_client` (`timeout`).
pub const HTTP_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Redirects that `http_client` follows.
pub const HTTP_REDIRECTS_MAX: usize = 10;
/// Largest body of a request of `http_client`, in bytes.
pub const HTTP_BODY_BYTES_MAX: usize = 64 << 20;
/// Default of the largest body of a response of `http_client` that is read at once, in bytes.
pub const HTTP_RESPONSE_BYTES: usize = 64 << 20;
/// Largest body of a response of `http_client` that is read at once, in bytes (`max_response_body`).
pub const HTTP_RESPONSE_BYTES_MAX: usize = 120 << 20;
/// Requests of one batch of `http_client`.
pub const HTTP_BATCH_MAX: usize = 1_000;
/// Requests of one batch that are under way at once.
pub const HTTP_BATCH_AT_ONCE: usize = 16;
/// Largest file of additional root certificates, in bytes.
pub const CA_FILE_BYTES_MAX: u64 = 4 << 20;

/// Metadata of an actor, of a resource that is asked for, or of a token, in bytes. A condition looks at each
/// key of a table, and a token is kept until it expires.
pub const SECURITY_META_BYTES_MAX: usize = 64 << 10;
/// Compiled size of a regular expression in a policy, in bytes.
pub const POLICY_REGEX_BYTES_MAX: usize = 64 << 10;
/// Text that a regular expression is tried on, in bytes; the time is at most its product with the
/// expression's size. A longer one can't be compared, which counts against the caller.
pub const POLICY_REGEX_TEXT_BYTES_MAX: usize = 8 << 10;
/// Default of the random bytes in a token (`token_length`).
pub const TOKEN_BYTES: u32 = 32;
/// Random bytes in a token.
pub const TOKEN_BYTES_MAX: u32 = 1024;
/// Default life of a token (`default_expiration`).
pub const TOKEN_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// Default of the values in a `store.memory` (`max_size`).
pub const STORE_VALUES_MAX: u64 = 10_000;

/// Entries whose calls are counted each by itself; all others are counted together.
pub const METRICS_ENTRIES_MAX: usize = 2_000;
/// Connections to the metrics' address that are served at once.
pub const METRICS_CONNECTIONS_MAX: usize = 32;
/// Longest life of a connection to the metrics' address.
pub const METRICS_CONNECTION_MAX: Duration = Duration::from_secs(30);
/// Wait after a connection to the metrics' address could not be taken.
pub const METRICS_ACCEPT_DELAY: Duration = Duration::from_millis(100);
/// Spans that a [`crate::Trace`] collects.
pub const TRACE_SPANS_MAX: usize = 10_000;
/// Longest header of a trace that is passed on, in bytes.
pub const TRACE_HEADER_BYTES_MAX: usize = 8 << 10;
/// Spans that wait to be sent; further ones are dropped.
pub const OTEL_QUEUE_SPANS_MAX: usize = 8_192;
/// Spans of one request to the collector.
pub const OTEL_BATCH_SPANS: usize = 512;
/// Longest time until a span is sent.
pub const OTEL_INTERVAL: Duration = Duration::from_secs(5);
/// Longest time of one request to the collector.
pub const OTEL_SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts of one request, the first included.
pub const OTEL_SEND_ATTEMPTS: u32 = 3;
/// Wait before the second attempt, doubled before each further one.
pub const OTEL_SEND_DELAY: Duration = Duration::from_secs(1);

/// Whether lines of the log for people say when they were written; those in JSON always do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogTimes {
    /// They do, and of which call they are.
    #[default]
    Written,
    /// They don't: for one call whose caller reads along.
    LeftOut,
}

/// Default of the largest request body, in bytes (`limits.max_body_bytes`).
pub const HTTP_REQUEST_BYTES_MAX: u64 = 120 << 20;
/// Default of the time that Lua waits for a request's body (`http.request`).
pub const HTTP_BODY_TIME: Duration = Duration::from_secs(300);
/// Largest head of a request, in bytes.
pub const HTTP_HEAD_BYTES_MAX: usize = 64 << 10;
/// Header lines of a request.
pub const HTTP_HEADERS_MAX: usize = 100;
/// Connections of a server at once; further ones wait to be accepted.
pub const HTTP_CONNECTIONS_MAX: usize = 10_000;
/// Requests at once on one connection of HTTP/2.
pub const HTTP_STREAMS_MAX: u32 = 128;
/// Longest TLS handshake.
pub const HTTP_HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Default of the time for the head of a request (`timeouts.read`).
pub const HTTP_HEAD_TIME: Duration = Duration::from_secs(30);
/// Default of the time that a connection rests between two requests (`timeouts.idle`).
pub const HTTP_IDLE_TIME: Duration = Duration::from_secs(120);
/// Default of the time in which a body must go on, in either direction (`timeouts.read`, `timeouts.write`).
pub const HTTP_STALL_TIME: Duration = Duration::from_secs(60);
/// Default of the time that requests have to end when a server stops (`lifecycle.stop_timeout`).
pub const HTTP_STOP_TIME: Duration = Duration::from_secs(10);
/// How long a stopping server still answers on connections of HTTP/1 that rest: a request may be on its way, and
/// nothing in that version tells the client beforehand.
pub const HTTP_LINGER_TIME: Duration = Duration::from_millis(500);
/// Wait before the next try to accept a connection, after the system had no room for one.
pub const HTTP_ACCEPT_WAIT: Duration = Duration::from_millis(50);
/// What `Retry-After` says when a function is too busy.
pub const HTTP_RETRY_AFTER: Duration = Duration::from_secs(1);
/// Bytes that a Lua handler writes before they are sent.
pub const HTTP_WRITE_BUFFER_BYTES: usize = 64 << 10;
/// Parts of a form that is read at once.
pub const HTTP_FORM_PARTS_MAX: usize = 1_000;
/// Longest header or query value that tells clients apart (`ratelimit.key`), in bytes.
pub const RATE_KEY_BYTES_MAX: usize = 256;

/// When the ticker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ticking {
    /// A thread ticks while any guest runs, so that guests share threads and can be cancelled.
    #[default]
    Always,
    /// A thread ticks only while a guest with a time limit runs: for one call in a process of its own.
    ForDeadlines,
    /// Nothing ticks but [`crate::Loader::tick`]: for tests, which assert order and counts.
    Manual,
}

/// Where instances come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub enum Allocation {
    /// Of functions from memory that is reserved when the first instance is made, for as many as there may be at
    /// once; of processes on demand: these live long, and how many there will be is not known.
    #[default]
    Reserved,
    /// On demand: for a few calls in a process of their own.
    OnDemand,
}

/// Options of a [`crate::Loader`], all with defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Whether artifacts are mapped from their files or always from sealed copies.
    pub sealing: Sealing,
    /// When the epoch is raised.
    pub ticking: Ticking,
    /// Folder that relative paths of entries are resolved in; default: the working directory.
    pub root: Option<PathBuf>,
    /// Files of root certificates in PEM format that outgoing connections trust beside the public ones and those of
    /// the setting `tls.ca_files`.
    pub extra_roots: Vec<PathBuf>,
    /// The only target whose artifacts may be used; default: the best that this machine runs.
    pub target: Option<Target>,
    /// What is demanded of the bundle: signatures, a compiler that is not burnt; default: nothing.
    pub trust: Trust,
    /// Whether lines of the log say when they were written.
    pub log_times: LogTimes,
    /// Where instances come from.
    pub allocation: Allocation,
    /// Instances of functions at once, 1 or more; default: the setting `wasm.total.max_instances`.
    pub instances_max: Option<usize>,
    /// Memory of all guests together, in bytes; default: the setting `wasm.total.max_memory_bytes`, or
    /// [`PROCESS_MEMORY_SHARE`] of the machine's.
    pub memory_bytes_max: Option<u64>,
    /// What stands above the settings that are built into the bundle; default: nothing.
    pub overrides: Overrides,
    /// Lua invocations at once, 1 or more; default: [`LUA_STATES_MAX`].
    pub lua_states_max: Option<usize>,
}
