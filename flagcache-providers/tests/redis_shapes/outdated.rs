//! A Sentinel with outdated information.

use flagcache_test_support::RedisServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Answers as a Sentinel would that was cut off from the others before they agreed on another primary. Gives its address.
pub(crate) async fn sentinel(primary: &RedisServer) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let port = primary.port().to_string();
    let answer = format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len());
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 1_024];
            // One command a connection.
            let _ = connection.read(&mut request).await;
            let _ = connection.write_all(answer.as_bytes()).await;
        }
    });
    address
}
