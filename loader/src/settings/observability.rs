//! The sections of what is seen from outside: `logger`, `logmanager`, `metrics`, `otel`, `prometheus`.

use super::filter::Filter;
use super::reader::Reader;

/// How records of the log are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Lines for people.
    Console,
    /// One JSON object per line.
    Json,
}

/// `logger`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logger {
    /// How records are written. Default: for people.
    pub encoding: Encoding,
    /// What is logged, of this loader alone. Default: `info`.
    pub level: Filter,
}

impl Logger {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let words = [("console", Encoding::Console), ("text", Encoding::Console), ("json", Encoding::Json)];
        Self {
            encoding: reader.word("logger.encoding", &["WIPPY_LOG_FORMAT"], &words, Encoding::Console),
            level: reader.value_or("logger.level", &["WIPPY_LOG"], Filter::default()),
        }
    }
}

/// `logmanager`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogManager {
    /// Whether the log is written at all. Default: yes.
    pub propagate_downstream: bool,
    /// Lowest level that is written: -1 debug, 0 info, 1 warnings, 2 errors. Default: -1.
    pub min_level: i64,
}

impl LogManager {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let propagate_downstream = reader.value("logmanager.propagate_downstream", true);
        reader.without_effect("logmanager.stream_to_events");
        let min_level = reader.ranged("logmanager.min_level", &[], -1, (-1, 2));
        Self { propagate_downstream, min_level }
    }
}

/// `metrics`: calls are always counted, and nothing is buffered.
pub(super) fn read_metrics(reader: &mut Reader<'_>) {
    reader.without_effect("metrics.buffer.size");
    reader.without_effect("metrics.interceptor.enabled");
}

/// `prometheus`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prometheus {
    /// Whether `loader run` serves metrics. Default: no.
    pub enabled: bool,
    /// Where, as `host:port`; without one nothing is served.
    pub address: Option<String>,
}

impl Prometheus {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            enabled: reader.value("prometheus.enabled", false),
            address: reader.optional("prometheus.address"),
        }
    }
}

/// How spans are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Protobuf in HTTP requests.
    HttpProtobuf,
    /// Accepted, since applications have it, and not offered.
    Grpc,
}

/// `otel`.
#[derive(Debug, Clone, PartialEq)]
pub struct Otel {
    /// Whether anything is traced. Default: no.
    pub enabled: bool,
    /// The collector, with or without a scheme. Default: `localhost:4318`.
    pub endpoint: String,
    /// How spans are sent. Default: protobuf over HTTP.
    pub protocol: Protocol,
    /// Name of the service. Default: `wippy-runtime`.
    pub service_name: String,
    /// Its version. Default: none.
    pub service_version: Option<String>,
    /// Whether an endpoint without a scheme is spoken to in plain text. Default: yes.
    pub insecure: bool,
    /// Part of the traces that is kept, 0 to 1. Default: all.
    pub sample_rate: f64,
    /// How trace contexts travel in headers; of this loader `tracecontext` and `baggage`. Default: both.
    pub propagators: Vec<String>,
    /// Whether spans are sent. Default: yes.
    pub traces_enabled: bool,
    /// Headers for the collector, `name=value` with commas between them; secret. Default: none.
    pub headers: Option<String>,
    /// HTTP requests.
    pub http: OtelHttp,
    /// Processes.
    pub process: OtelProcess,
    /// Whether calls of functions are traced. Default: yes.
    pub interceptor_enabled: bool,
}

/// `otel.http`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtelHttp {
    /// Whether requests are traced. Default: yes.
    pub enabled: bool,
    /// Whether a request's trace context is taken over. Default: yes.
    pub extract_headers: bool,
    /// Whether requests to others carry it. Default: yes.
    pub inject_headers: bool,
}

/// `otel.process`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtelProcess {
    /// Whether processes are traced. Default: yes.
    pub enabled: bool,
    /// Whether start and end of a process are spans. Default: yes.
    pub trace_lifecycle: bool,
}

impl Otel {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let protocols = [("http/protobuf", Protocol::HttpProtobuf), ("grpc", Protocol::Grpc)];
        let text = |reader: &mut Reader<'_>, path, variable, default: &str| -> String {
            reader.value_or(path, &[variable], default.to_owned())
        };
        let otel = Self {
            enabled: reader.enabled_unless("otel.enabled", "OTEL_SDK_DISABLED", false),
            endpoint: text(reader, "otel.endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
            protocol: reader.word(
                "otel.protocol",
                &["OTEL_EXPORTER_OTLP_PROTOCOL"],
                &protocols,
                Protocol::HttpProtobuf,
            ),
            service_name: text(reader, "otel.service_name", "OTEL_SERVICE_NAME", "wippy-runtime"),
            service_version: Some(text(reader, "otel.service_version", "OTEL_SERVICE_VERSION", ""))
                .filter(|version| !version.is_empty()),
            insecure: reader.value("otel.insecure", true),
            sample_rate: reader.ranged("otel.sample_rate", &["OTEL_TRACES_SAMPLER_ARG"], 1.0, (0.0, 1.0)),
            propagators: reader.texts(
                "otel.propagators",
                &["OTEL_PROPAGATORS"],
                &["tracecontext", "baggage"],
            ),
            traces_enabled: reader.value("otel.traces_enabled", true),
            headers: reader.secret("otel.headers", &["OTEL_EXPORTER_OTLP_HEADERS"]),
            http: OtelHttp {
                enabled: reader.value("otel.http.enabled", true),
                extract_headers: reader.value("otel.http.extract_headers", true),
                inject_headers: reader.value("otel.http.inject_headers", true),
            },
            process: OtelProcess {
                enabled: reader.value("otel.process.enabled", true),
                trace_lifecycle: reader.value("otel.process.trace_lifecycle", true),
            },
            interceptor_enabled: reader.value("otel.interceptor.enabled", true),
        };
        const OTHERS: [&str; 4] =
            ["otel.metrics_enabled", "otel.interceptor.order", "otel.queue.enabled", "otel.temporal.enabled"];
        for path in OTHERS {
            reader.without_effect(path);
        }
        otel
    }
}
