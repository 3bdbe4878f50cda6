//! The service over a socket: what was acknowledged is there after a restart, and every failure has its answer.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum_append::{Outcome, router, serve};
use ottla::{Broker, BrokerOptions, TopicConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

const CLIENTS: usize = 8;
const APPENDS: usize = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_a_restart() -> Outcome<()> {
    let dir = TempDir::new("restart");
    let service = Service::start(&dir).await?;

    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let address = service.address;
        clients.spawn(async move {
            let mut appended = Vec::new();
            for number in 0..APPENDS {
                let value = format!("{client}-{number}");
                let answer = Answer::of(address, "POST", "/topics/orders", value.as_bytes()).await?;
                assert_eq!(answer.status, 201, "{answer:?}");
                appended.push((answer.header("location").ok_or("an answer without a place")?, value));
            }
            Outcome::Ok(appended)
        });
    }
    let appended: Vec<_> = clients.join_all().await.into_iter().collect::<Outcome<Vec<_>>>()?.concat();
    service.holds(&appended).await?;
    service.stop().await?;

    let service = Service::start(&dir).await?;
    service.holds(&appended).await?;
    service.stop().await
}

#[tokio::test]
async fn a_page_is_bounded_and_says_where_the_next_one_begins() -> Outcome<()> {
    let dir = TempDir::new("pages");
    let service = Service::start(&dir).await?;
    let value = vec![b'x'; 40_000];
    for _ in 0..5 {
        let place = Answer::of(service.address, "POST", "/topics/single", &value).await?;
        assert_eq!(place.status, 201);
    }
    let (mut from, mut pages) = ("0".to_owned(), Vec::new());
    while from != "5" {
        let page = service.get(&format!("/topics/single/0?from={from}")).await?;
        pages.push(page.body.lines().count() / 2);
        from = page.header("next-offset").ok_or("a page that does not say where it ends")?;
        assert!(pages.len() <= 5, "pages without an end: {pages:?}");
    }
    assert_eq!(pages, [2, 2, 1]);
    let end = service.get("/topics/single/0?from=5").await?;
    assert_eq!((end.status, end.body.as_str(), end.header("next-offset").as_deref()), (200, "", Some("5")));
    service.stop().await
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong() -> Outcome<()> {
    let dir = TempDir::new("bad_requests");
    let service = Service::start(&dir).await?;
    let large = vec![b'x'; 60_000];
    for (method, path, body, expected) in [
        ("POST", "/topics/nowhere", &b"paid"[..], 404),
        ("POST", "/topics/single", &large, 413),
        ("GET", "/topics/nowhere/0", b"", 404),
        ("GET", "/topics/orders/3", b"", 404),
        ("GET", "/topics/orders/0?from=1", b"", 416),
        ("GET", "/topics/orders/0?from=soon", b"", 400),
    ] {
        let answer = Answer::of(service.address, method, path, body).await?;
        assert_eq!(answer.status, expected, "{method} {path}: {answer:?}");
        assert!(!answer.body.is_empty() && answer.header("retry-after").is_none(), "{answer:?}");
    }
    service.stop().await
}

/// A broker without threads, which nobody ticks: the first record is taken, and gets no further.
#[tokio::test]
async fn what_becomes_of_a_record_is_told_from_what_nobody_knows() -> Outcome<()> {
    let dir = TempDir::new("outcomes");
    let broker = open(Broker::options().background(false).buffer_memory(1), &dir)?;
    let end = broker.topic("single")?.partition(0)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(axum::serve(listener, router(broker.clone())).into_future());

    let first = tokio::spawn(async move { Answer::of(address, "POST", "/topics/single", b"first").await });
    while end.log_end_offset() == 0 {
        tokio::task::yield_now().await;
    }
    let full = Answer::of(address, "POST", "/topics/single", b"second").await?;
    assert_eq!((full.status, full.header("retry-after").as_deref()), (503, Some("1")), "{full:?}");

    let closed = tokio::task::spawn_blocking(move || broker.close(Duration::ZERO)).await?;
    assert!(closed.is_err_and(|error| error.is_indeterminate()));
    let first = first.await??;
    assert_eq!(first.status, 500, "{first:?}");
    assert!(first.body.starts_with("indeterminate"), "{first:?}");
    let late = Answer::of(address, "POST", "/topics/single", b"late").await?;
    assert_eq!(late.status, 503, "{late:?}");
    server.abort();
    Ok(())
}

/// The service on a port of its own.
struct Service {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Outcome<()>>,
}

impl Service {
    async fn start(dir: &TempDir) -> Outcome<Self> {
        let broker = open(Broker::options(), dir)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(serve(listener, broker, async { _ = stopped.await }));
        Ok(Self { address, stop, served })
    }

    async fn stop(self) -> Outcome<()> {
        _ = self.stop.send(());
        self.served.await?
    }

    async fn get(&self, path: &str) -> Outcome<Answer> {
        Answer::of(self.address, "GET", path, b"").await
    }

    /// Checks that each place has its value, and that there are no others.
    async fn holds(&self, appended: &[(String, String)]) -> Outcome<()> {
        assert_eq!(appended.len(), CLIENTS * APPENDS);
        for (place, value) in appended {
            let page = self.get(place).await?;
            assert_eq!(page.body.lines().nth(1), Some(value.as_str()), "{place}");
        }
        let mut count = 0;
        for partition in 0..3 {
            count += self.get(&format!("/topics/orders/{partition}")).await?.body.lines().count() / 2;
        }
        assert_eq!(count, appended.len());
        Ok(())
    }
}

fn open(options: BrokerOptions, dir: &TempDir) -> ottla::Result<Broker> {
    let broker = options.open(&dir.0)?;
    broker.ensure_topic("orders", TopicConfig::new().partitions(3))?;
    broker.ensure_topic("single", TopicConfig::new().max_message_bytes(50_000))?;
    Ok(broker)
}

/// An answer to one request, which had a connection of its own.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    async fn of(address: SocketAddr, method: &str, path: &str, body: &[u8]) -> Outcome<Self> {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(&[head.as_bytes(), body].concat()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without an end of its head")?;
        let status = head.split(' ').nth(1).ok_or("an answer without a status")?.parse()?;
        Ok(Self { status, head: head.to_owned(), body: body.to_owned() })
    }

    fn header(&self, name: &str) -> Option<String> {
        let mut headers = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        headers.find(|header| header.0 == name).map(|header| header.1.to_owned())
    }
}

/// A directory that goes with the test.
struct TempDir(PathBuf);

impl TempDir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("axum-append-{name}-{}", std::process::id()));
        _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}
