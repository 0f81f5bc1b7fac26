//! How Redis is reached: one server, the master that Sentinels name, or a Cluster.

use std::{fs, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisConnectionInfo, RedisResult, TlsCertificates, TlsMode,
    cluster::ClusterClient,
    sentinel::{SentinelClientBuilder, SentinelServerType},
};
use tokio_rustls::rustls::crypto::ring;

use super::{
    line::Line,
    url::{Arrangement, Login, RedisUrl},
};

/// The way to Redis; not yet a connection.
pub(super) enum Link {
    Single(Client),
    Sentinel {
        url: RedisUrl,
        service: String,
        sentinel_login: Option<Login>,
        certificates: Option<TlsCertificates>,
    },
    Cluster(Box<ClusterClients>),
}

/// They differ in how patient they are.
pub(super) struct ClusterClients {
    reader: ClusterClient,
    writer: ClusterClient,
}

/// Two connections: one that may be blocked by waiting for news, and one for everything else.
pub(super) struct Lines {
    pub(super) reader: Line,
    pub(super) writer: Line,
}

impl Link {
    /// Reads what the URL refers to, and connects to nothing.
    pub(super) fn new(url: &RedisUrl) -> Result<Self, String> {
        // The client asks rustls for the process's provider, which must not depend on what other crates link in.
        let _ = ring::default_provider().install_default();
        let certificates = url.ca.as_ref().map(|file| {
            let root_cert = fs::read(file)
                .map_err(|error| format!("cannot read the ca file {}: {error}", file.display()))?;
            Ok::<_, String>(TlsCertificates {
                client_tls: None,
                root_cert: Some(root_cert),
            })
        });
        let certificates = certificates.transpose()?;
        let link = match &url.arrangement {
            Arrangement::Single => single(url, certificates).map(Self::Single),
            Arrangement::Cluster => {
                clusters(url, certificates.as_ref()).map(|clients| Self::Cluster(Box::new(clients)))
            }
            Arrangement::Sentinel { service, login } => Ok(Self::Sentinel {
                url: url.clone(),
                service: service.clone(),
                sentinel_login: login.clone(),
                certificates,
            }),
        };
        link.map_err(|error| error.to_string())
    }

    /// Connects, and asks the Sentinels again who is master.
    pub(super) async fn connect(&self) -> RedisResult<Lines> {
        let client = match self {
            Self::Single(client) => client.clone(),
            Self::Sentinel {
                url,
                service,
                sentinel_login,
                certificates,
            } => master(url, service, sentinel_login.as_ref(), certificates.as_ref()).await?,
            Self::Cluster(clients) => {
                let ClusterClients { reader, writer } = &**clients;
                return Ok(Lines {
                    reader: Line::Cluster(reader.get_async_connection().await?),
                    writer: Line::Cluster(writer.get_async_connection().await?),
                });
            }
        };
        let open = async |response_timeout| {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(CONNECT_TIMEOUT))
                .set_response_timeout(Some(response_timeout));
            let connection = client.get_multiplexed_async_connection_with_config(&config);
            connection.await.map(Line::One)
        };
        Ok(Lines {
            reader: open(READ_TIMEOUT).await?,
            writer: open(WRITE_TIMEOUT).await?,
        })
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// Longer than a read waits for news ([`super::reader`]), and no longer than a dead server may go unnoticed.
const READ_TIMEOUT: Duration = Duration::from_secs(3);
/// How often the Cluster's client itself tries a command again, on the node where the key is by then.
const WRITER_RETRIES: u32 = 3;
/// Each loss must be seen here: what a failover lost is found out after it.
const READER_RETRIES: u32 = 0;
const RETRY_WAIT_MAX_MS: u64 = 500;

fn single(url: &RedisUrl, certificates: Option<TlsCertificates>) -> RedisResult<Client> {
    let (host, port) = url.hosts.first().cloned().unwrap_or_default();
    let info = info(url, host, port)?;
    match certificates {
        Some(certificates) => Client::build_with_tls(info, certificates),
        None => Client::open(info),
    }
}

fn clusters(url: &RedisUrl, certificates: Option<&TlsCertificates>) -> RedisResult<ClusterClients> {
    let client = |response_timeout, retries| {
        let nodes = url.hosts.iter().cloned();
        let nodes: RedisResult<Vec<_>> = nodes.map(|(host, port)| info(url, host, port)).collect();
        let mut builder = ClusterClient::builder(nodes?)
            .connection_timeout(CONNECT_TIMEOUT)
            .response_timeout(response_timeout)
            .retries(retries)
            .max_retry_wait(RETRY_WAIT_MAX_MS);
        if let Some(certificates) = certificates {
            builder = builder.certs(certificates.clone());
        }
        builder.build()
    };
    Ok(ClusterClients {
        reader: client(READ_TIMEOUT, READER_RETRIES)?,
        writer: client(WRITE_TIMEOUT, WRITER_RETRIES)?,
    })
}

/// The client for the present master.
async fn master(
    url: &RedisUrl,
    service: &str,
    sentinel_login: Option<&Login>,
    certificates: Option<&TlsCertificates>,
) -> RedisResult<Client> {
    let hosts = url.hosts.iter().cloned();
    let sentinels: Vec<_> = hosts.map(|(host, port)| addr(url, host, port)).collect();
    let mut builder = SentinelClientBuilder::new(sentinels, service, SentinelServerType::Master)?
        .set_client_to_redis_db(url.database);
    if url.is_tls {
        builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
    }
    if let Some(certificates) = certificates {
        builder = builder
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_certificates(certificates.clone());
    }
    if let Some(login) = &url.login {
        builder = builder.set_client_to_redis_password(login.password.expose());
        if let Some(username) = &login.username {
            builder = builder.set_client_to_redis_username(username);
        }
    }
    if let Some(login) = sentinel_login {
        builder = builder.set_client_to_sentinel_password(login.password.expose());
        if let Some(username) = &login.username {
            builder = builder.set_client_to_sentinel_username(username);
        }
    }
    builder.build()?.async_get_client().await
}

fn info(url: &RedisUrl, host: String, port: u16) -> RedisResult<ConnectionInfo> {
    let mut settings = RedisConnectionInfo::default()
        .set_db(url.database)
        .set_lib_name("setu", env!("CARGO_PKG_VERSION"));
    if let Some(login) = &url.login {
        settings = settings.set_password(login.password.expose());
        if let Some(username) = &login.username {
            settings = settings.set_username(username);
        }
    }
    let info = addr(url, host, port).into_connection_info()?;
    Ok(info.set_redis_settings(settings))
}

fn addr(url: &RedisUrl, host: String, port: u16) -> ConnectionAddr {
    if url.is_tls {
        ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        }
    } else {
        ConnectionAddr::Tcp(host, port)
    }
}
