//! Serves the directory `data` on 127.0.0.1:3000, until Ctrl-C: `cargo run --release`, in this folder.
//!
//! ```sh
//! curl -i --data-binary paid http://127.0.0.1:3000/topics/orders
//! curl -i 'http://127.0.0.1:3000/topics/orders/0?from=0'
//! ```

use ottla::{Broker, TopicConfig};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> axum_append::Outcome<()> {
    let broker = Broker::open("data")?;
    broker.ensure_topic("orders", TopicConfig::new().partitions(3))?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on {}", listener.local_addr()?);
    let interrupted = async { tokio::signal::ctrl_c().await.unwrap_or_else(|error| eprintln!("{error}")) };
    axum_append::serve(listener, broker, interrupted).await
}
