//! A log behind HTTP: appends that are acknowledged once they are on stable storage, and pages to read.
//!
//! Handlers that append are async: the broker's own threads write and sync, and wake the task. What blocks, which is
//! reading, opening and closing, runs on the runtime's threads for that.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use ottla::{Broker, ErrorKind, Offset, Partition, PartitionId, Record, Start};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

/// What the service itself may fail with.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How long requests may go on once the service is to stop, and how long the broker may then take to close.
const DRAIN: Duration = Duration::from_secs(5);
const CLOSE: Duration = Duration::from_secs(10);

/// A page ends with the record that brings it there.
const PAGE_BYTES: usize = 64 * 1024;
/// The offset with which the next page begins.
const NEXT_OFFSET: HeaderName = HeaderName::from_static("next-offset");

/// Serves the broker's topics until `stop` completes; then requests end, and the broker is closed.
pub async fn serve(
    listener: TcpListener,
    broker: Broker,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Outcome<()> {
    let (stopped, has_stopped) = oneshot::channel();
    let stop = async move {
        stop.await;
        _ = stopped.send(());
    };
    let server = axum::serve(listener, router(broker.clone())).with_graceful_shutdown(stop);
    let has_drained = async move {
        _ = has_stopped.await;
        tokio::time::sleep(DRAIN).await;
    };
    let served = tokio::select! {
        served = server.into_future() => served,
        // Whoever has not finished by now is answered that the broker was closed.
        () = has_drained => Ok(()),
    };
    spawn_blocking(move || broker.close(CLOSE)).await??;
    Ok(served?)
}

/// The two routes.
pub fn router(broker: Broker) -> Router {
    Router::new()
        .route("/topics/{topic}", post(append))
        .route("/topics/{topic}/{partition}", get(read))
        .with_state(broker)
}

/// Appends the body, and answers where it is once it is on stable storage. A client that goes away meanwhile takes
/// nothing back: the record is written all the same.
async fn append(
    State(broker): State<Broker>,
    Path(topic): Path<String>,
    body: Bytes,
) -> Result<Response, Failure> {
    let topic = broker.topic(&topic)?;
    // Never blocks. The record's bytes are copied; the delivery borrows nothing.
    let metadata = topic.producer().try_send(Record::new(&body))?.await?;
    let (partition, offset) = (metadata.partition(), metadata.offset());
    let place = format!("/topics/{}/{partition}?from={offset}", metadata.topic());
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], format!("{partition} {offset}\n")).into_response())
}

/// Answers with the records from `?from=`, or from the oldest one on: each its offset, its length, and its bytes.
async fn read(
    State(broker): State<Broker>,
    Path((topic, partition)): Path<(String, PartitionId)>,
    Query(query): Query<HashMap<String, Offset>>,
) -> Result<Response, Failure> {
    let partition = broker.topic(&topic)?.partition(partition)?;
    let start = query.get("from").map_or(Start::Earliest, |from| Start::At(*from));
    // Reading may wait for the disk.
    let page = spawn_blocking(move || read_page(&partition, start)).await;
    let (next, page) = page.map_err(|error| Failure::internal(&error))??;
    Ok(([(NEXT_OFFSET, next.to_string())], page).into_response())
}

fn read_page(partition: &Partition, start: Start) -> ottla::Result<(Offset, Vec<u8>)> {
    let mut batches = partition.read(start)?;
    let mut page = Vec::new();
    while let Some(batch) = batches.next().transpose()? {
        for record in &batch {
            let value = record.value().unwrap_or_default();
            page.extend(format!("{} {}\n", record.offset(), value.len()).bytes());
            page.extend([value, b"\n"].concat());
            if page.len() >= PAGE_BYTES {
                return Ok((record.offset() + 1, page));
            }
        }
    }
    Ok((batches.position().offset(), page))
}

/// An answer that is no success.
struct Failure {
    status: StatusCode,
    is_retriable: bool,
    what: String,
}

impl Failure {
    fn internal(error: &dyn Error) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self { status, is_retriable: false, what: error.to_string() }
    }
}

impl From<ottla::Error> for Failure {
    fn from(error: ottla::Error) -> Self {
        // The client is told that nobody knows: to send it again may append it twice.
        let prefix = if error.is_indeterminate() { "indeterminate: " } else { "" };
        Self {
            status: status(error.kind()),
            is_retriable: error.is_retriable(),
            what: format!("{prefix}{error}"),
        }
    }
}

/// What an error of the log is to a client.
fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::UnknownTopicOrPartition | ErrorKind::InvalidTopic => StatusCode::NOT_FOUND,
        ErrorKind::OffsetOutOfRange => StatusCode::RANGE_NOT_SATISFIABLE,
        ErrorKind::MessageTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        // Nothing was written: the buffer is full, the disk is full, or the service is about to end.
        ErrorKind::BufferExhausted | ErrorKind::NotWritten | ErrorKind::Closed => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        // Indeterminate is among them.
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, format!("{}\n", self.what)).into_response();
        if self.is_retriable {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_written_is_to_be_sent_again() {
        for (kind, expected) in [
            (ErrorKind::BufferExhausted, 503),
            (ErrorKind::NotWritten, 503),
            (ErrorKind::Closed, 503),
            (ErrorKind::Indeterminate, 500),
            (ErrorKind::StorageError, 500),
            (ErrorKind::CorruptMessage, 500),
            (ErrorKind::MessageTooLarge, 413),
            (ErrorKind::OffsetOutOfRange, 416),
            (ErrorKind::UnknownTopicOrPartition, 404),
        ] {
            assert_eq!(status(kind), expected, "{kind:?}");
        }
    }
}
