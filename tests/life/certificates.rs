//! Certificates made for a test, and which of them a server shows.

use std::{net::SocketAddr, sync::Arc};

use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use setu::trusting::client_config;

use crate::client::dtls_client::DtlsClient;
use crate::common::Folder;

/// Writes a certificate for localhost and its key under this name: what clients are shown of it.
pub(crate) fn make(folder: &Folder, name: &str) -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    folder.write(&format!("{name}.pem"), &made.cert.pem());
    folder.write(&format!("{name}.key"), &made.signing_key.serialize_pem());
    made.cert.der().to_vec()
}

/// What a client that comes now is shown.
pub(crate) async fn shown(server: SocketAddr) -> Vec<u8> {
    let socket = TcpStream::connect(server).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(client_config().unwrap()));
    let stream = connector.connect(name, socket).await.unwrap();
    let shown = stream.get_ref().1.peer_certificates().unwrap();
    shown[0].to_vec()
}

/// The same over DTLS.
pub(crate) async fn shown_over_dtls(server: SocketAddr) -> Vec<u8> {
    let mut client = DtlsClient::to(server, SocketAddr::from(([127, 0, 0, 1], 0))).await;
    client.connect().await;
    client.shown.clone()
}
