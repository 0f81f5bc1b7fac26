//! The way to the authority: one request on one connection, over TLS, with bounds on time and size.

use std::{
    error::Error as StdError, future::Future, io, path::Path, pin::Pin, sync::Arc, time::Duration,
};

use axum::http::{Request, Uri, header};
use bytes::Bytes;
use http_body_util::Limited;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use super::AcmeError;

/// Whom it trusts. Clones are the same.
#[derive(Clone)]
pub(super) struct Authority(TlsConnector);

impl Authority {
    /// Trusts what is in this file, or else those that browsers trust.
    pub(super) fn new(trusted: Option<&Path>) -> Result<Self, AcmeError> {
        let mut roots = RootCertStore::empty();
        match trusted {
            Some(file) => {
                let unusable = |reason: String| AcmeError::File {
                    file: file.to_owned(),
                    reason,
                };
                let certificates = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
                let certificates: Vec<_> =
                    certificates.map_err(|error| unusable(error.to_string()))?;
                if roots.add_parsable_certificates(certificates).0 == 0 {
                    return Err(unusable("holds no certificate to trust".to_owned()));
                }
            }
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Other(error.into()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    async fn exchange(
        self,
        mut request: Request<BodyWrapper<Bytes>>,
    ) -> Result<BytesResponse, Box<dyn StdError + Send + Sync>> {
        let uri = request.uri().clone();
        if uri.scheme_str() != Some("https") {
            return Err("only https:// will do".into());
        }
        let host = uri.host().ok_or("a URL without a host")?;
        let port = uri.port_u16().unwrap_or(443);
        let bare = host.trim_matches(['[', ']']);
        let socket = TcpStream::connect((bare, port)).await?;
        let name = ServerName::try_from(bare.to_owned())?;
        let stream = self.0.connect(name, socket).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the answer, which says what went wrong if anything did.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        let authority = uri.authority().ok_or("a URL without a host")?;
        request
            .headers_mut()
            .insert(header::HOST, authority.as_str().parse()?);
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = path.parse::<Uri>()?;
        let response = sender.send_request(request).await?;
        Ok(BytesResponse::from(
            response.map(|body| Limited::new(body, ANSWER_BYTES_MAX)),
        ))
    }
}

impl HttpClient for Authority {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let exchange = self.clone().exchange(request);
        Box::pin(async move {
            match timeout(REQUEST_TIMEOUT, exchange).await {
                Ok(answer) => answer.map_err(Error::Other),
                Err(_) => Err(Error::Other(
                    io::Error::from(io::ErrorKind::TimedOut).into(),
                )),
            }
        })
    }
}

const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 1 << 20;
