//! The listening socket and its connections.

use std::error::Error;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::service::{self, Reset};
use super::state::State;

/// Serves until it is dropped, which drops the connections too.
pub(super) async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&state)));
                }
                // Out of file descriptors, or the peer is gone already.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, state: Arc<State>) {
    // Without it the end of a small answer waits for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| Box::pin(service::answer(Arc::clone(&state), request)));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // The socket is taken back instead of being shut down, because only a socket that is still open can be reset.
    let ended = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    let stream = connection.into_parts().io.into_inner();
    if ended.is_err_and(|error| error.source().is_some_and(|cause| cause.is::<Reset>())) {
        let _ = stream.set_zero_linger();
    }
}
