//! A certificate authority for tests ([RFC 8555](https://www.rfc-editor.org/rfc/rfc8555)): as much of it as one client
//! needs, with signatures, nonces and proofs really checked.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair,
};
use ring::{
    digest::{SHA256, digest},
    signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring as provider, pki_types::PrivatePkcs8KeyDer},
};

use crate::common::Folder;

/// Gone with the runtime.
pub(crate) struct Authority {
    pub(crate) directory: String,
    /// Whom to trust about it, and about what it issues.
    pub(crate) root: Vec<u8>,
    shared: Arc<Shared>,
}

struct Shared {
    base: String,
    issuer: Issuer<'static, KeyPair>,
    root_pem: String,
    /// Where port 80 of every name is.
    port_80: watch::Sender<Option<SocketAddr>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    nonces: HashSet<String>,
    next_nonce: u64,
    accounts: Vec<Value>,
    orders: Vec<Order>,
    /// How many orders are still to fail.
    failing: usize,
}

struct Order {
    domains: Vec<String>,
    /// `None`: not looked at yet.
    proven: Vec<Option<bool>>,
    chain: Option<String>,
}

/// What a request is answered with.
struct Reply {
    status: &'static str,
    location: Option<String>,
    kind: &'static str,
    body: String,
}

impl Authority {
    /// `failing` orders are refused before one is not.
    pub(crate) async fn start(folder: &Folder, failing: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("https://{}", listener.local_addr().unwrap());
        let root_key = KeyPair::generate().unwrap();
        let mut root = CertificateParams::new(Vec::new()).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_certificate = root.self_signed(&root_key).unwrap();
        folder.write("root.pem", &root_certificate.pem());
        let issuer = Issuer::new(root, root_key);
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let own = own.signed_by(&key, &issuer).unwrap();
        let tls = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![own.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            );
        let acceptor = TlsAcceptor::from(Arc::new(tls.unwrap()));
        let shared = Arc::new(Shared {
            base: base.clone(),
            issuer,
            root_pem: root_certificate.pem(),
            port_80: watch::Sender::new(None),
            state: Mutex::new(State {
                failing,
                ..State::default()
            }),
        });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&serving).serve(acceptor.clone(), socket));
            }
        });
        Self {
            directory: format!("{base}/directory"),
            root: root_certificate.der().to_vec(),
            shared,
        }
    }

    /// From now on it can look for proof.
    pub(crate) fn looks_at(&self, port_80: SocketAddr) {
        self.shared.port_80.send_replace(Some(port_80));
    }

    pub(crate) fn accounts(&self) -> usize {
        self.shared.state.lock().unwrap().accounts.len()
    }

    pub(crate) fn orders(&self) -> usize {
        self.shared.state.lock().unwrap().orders.len()
    }
}

impl Shared {
    /// One request.
    async fn serve(self: Arc<Self>, acceptor: TlsAcceptor, socket: TcpStream) {
        let Ok(mut stream) = acceptor.accept(socket).await else {
            return;
        };
        let mut received = Vec::new();
        let (head, body) = loop {
            if stream.read_buf(&mut received).await.unwrap_or(0) == 0 {
                return;
            }
            let text = String::from_utf8(received.clone()).unwrap();
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let lower = head.to_lowercase();
            let length = lower.split("content-length: ").nth(1);
            let length = length.and_then(|rest| rest.lines().next()?.trim().parse().ok());
            if body.len() >= length.unwrap_or(0) {
                break (head.to_owned(), body.to_owned());
            }
        };
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let reply = match method {
            "POST" => self.post(path, &body).await,
            _ if path == "/directory" => ok(self.directory()),
            _ => ok(json!({})),
        };
        let location = reply.location.map(|url| format!("Location: {url}\r\n"));
        let answer = format!(
            "HTTP/1.1 {}\r\nReplay-Nonce: {}\r\nContent-Type: {}\r\n{}Content-Length: {}\r\n\
             Connection: close\r\n\r\n{}",
            reply.status,
            self.nonce(),
            reply.kind,
            location.unwrap_or_default(),
            reply.body.len(),
            if method == "HEAD" { "" } else { &reply.body },
        );
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }

    fn directory(&self) -> Value {
        let url = |path: &str| format!("{}{path}", self.base);
        json!({
            "newNonce": url("/nonce"), "newAccount": url("/account"), "newOrder": url("/order"),
            "revokeCert": url("/revoke"), "keyChange": url("/key"),
        })
    }

    fn nonce(&self) -> String {
        let mut state = self.state.lock().unwrap();
        state.next_nonce += 1;
        let nonce = format!("nonce-{}", state.next_nonce);
        state.nonces.insert(nonce.clone());
        nonce
    }

    async fn post(&self, path: &str, body: &str) -> Reply {
        let (jwk, payload) = match self.verify(path, body) {
            Ok(verified) => verified,
            Err(problem) => return refused(problem),
        };
        let parts: Vec<_> = path.split('/').skip(1).collect();
        let number = |at: usize| parts[at].parse::<usize>().unwrap();
        match parts[0] {
            "account" => self.account(jwk, &payload),
            "order" if parts.len() == 1 => self.new_order(&payload),
            "order" => ok(self.order(number(1))),
            "authorization" => ok(self.authorization(number(1), number(2))),
            "challenge" => {
                self.look(number(1), number(2), &jwk).await;
                let authorization = self.authorization(number(1), number(2));
                ok(authorization["challenges"][0].clone())
            }
            "finalize" => {
                self.issue(number(1), &payload);
                ok(self.order(number(1)))
            }
            "certificate" => {
                let state = self.state.lock().unwrap();
                let chain = state.orders[number(1)].chain.clone().unwrap();
                Reply {
                    kind: "application/pem-certificate-chain",
                    body: chain,
                    ..ok(Value::Null)
                }
            }
            _ => refused("malformed"),
        }
    }

    /// Whose key has signed it, and what it says ([RFC 8555 §6](https://www.rfc-editor.org/rfc/rfc8555#section-6)).
    fn verify(&self, path: &str, body: &str) -> Result<(Value, Value), &'static str> {
        let jws: Value = serde_json::from_str(body).map_err(|_| "malformed")?;
        let text = |name: &str| jws[name].as_str().ok_or("malformed");
        let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| "malformed");
        let (protected, payload) = (text("protected")?, text("payload")?);
        let header: Value = serde_json::from_slice(&decode(protected)?).map_err(|_| "malformed")?;
        if header["alg"] != "ES256" || header["url"] != format!("{}{path}", self.base) {
            return Err("unauthorized");
        }
        let mut state = self.state.lock().unwrap();
        if !state
            .nonces
            .remove(header["nonce"].as_str().unwrap_or_default())
        {
            return Err("badNonce");
        }
        let known = || {
            let kid = header["kid"].as_str()?;
            let number: usize = kid.rsplit('/').next()?.parse().ok()?;
            state.accounts.get(number).cloned()
        };
        let jwk = match header.get("jwk") {
            Some(jwk) => jwk.clone(),
            None => known().ok_or("accountDoesNotExist")?,
        };
        let coordinate = |name: &str| decode(jwk[name].as_str().unwrap_or_default());
        let point = [vec![4], coordinate("x")?, coordinate("y")?].concat();
        let signed = format!("{protected}.{payload}");
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(signed.as_bytes(), &decode(text("signature")?)?)
            .map_err(|_| "unauthorized")?;
        let payload = serde_json::from_slice(&decode(payload)?).unwrap_or(Value::Null);
        Ok((jwk, payload))
    }

    fn account(&self, jwk: Value, payload: &Value) -> Reply {
        if payload["termsOfServiceAgreed"] != true {
            return refused("userActionRequired");
        }
        let mut state = self.state.lock().unwrap();
        state.accounts.push(jwk);
        let number = state.accounts.len() - 1;
        created(
            format!("{}/account/{number}", self.base),
            json!({ "status": "valid" }),
        )
    }

    fn new_order(&self, payload: &Value) -> Reply {
        let identifiers = payload["identifiers"].as_array().unwrap().iter();
        let domains = identifiers.map(|one| one["value"].as_str().unwrap().to_owned());
        let domains: Vec<_> = domains.collect();
        let mut state = self.state.lock().unwrap();
        state.orders.push(Order {
            proven: vec![None; domains.len()],
            domains,
            chain: None,
        });
        let number = state.orders.len() - 1;
        drop(state);
        created(format!("{}/order/{number}", self.base), self.order(number))
    }

    fn order(&self, number: usize) -> Value {
        let state = self.state.lock().unwrap();
        let order = &state.orders[number];
        let status = match &order.chain {
            Some(_) => "valid",
            None if order.proven.contains(&Some(false)) => "invalid",
            None if order.proven.contains(&None) => "pending",
            None => "ready",
        };
        let urls = (0..order.domains.len())
            .map(|which| format!("{}/authorization/{number}/{which}", self.base));
        let identifiers = order.domains.iter();
        let identifiers = identifiers.map(|name| json!({ "type": "dns", "value": name }));
        let mut view = json!({
            "status": status,
            "identifiers": identifiers.collect::<Vec<_>>(),
            "authorizations": urls.collect::<Vec<_>>(),
            "finalize": format!("{}/finalize/{number}", self.base),
        });
        if order.chain.is_some() {
            view["certificate"] = format!("{}/certificate/{number}", self.base).into();
        }
        view
    }

    fn authorization(&self, number: usize, which: usize) -> Value {
        let state = self.state.lock().unwrap();
        let order = &state.orders[number];
        let status = match order.proven[which] {
            None => "pending",
            Some(true) => "valid",
            Some(false) => "invalid",
        };
        let mut challenge = json!({
            "type": "http-01",
            "status": status,
            "url": format!("{}/challenge/{number}/{which}", self.base),
            "token": token(number, which),
        });
        if status == "invalid" {
            challenge["error"] = json!({
                "type": "urn:ietf:params:acme:error:connection", "detail": "nobody answers",
            });
        }
        json!({
            "status": status,
            "identifier": { "type": "dns", "value": order.domains[which] },
            "challenges": [challenge],
        })
    }

    /// Asks for the proof, as a stranger does.
    async fn look(&self, number: usize, which: usize, jwk: &Value) {
        let mut port_80 = self.port_80.subscribe();
        let addr = port_80.wait_for(Option::is_some).await.unwrap().unwrap();
        let token = token(number, which);
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let request = format!(
            "GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let key = format!(
            r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#,
            jwk["x"], jwk["y"]
        );
        let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, key.as_bytes()));
        let is_proven = answer.starts_with("HTTP/1.1 200 ")
            && answer.ends_with(&format!("\r\n\r\n{token}.{thumbprint}"));
        let mut state = self.state.lock().unwrap();
        let fails = state.failing > 0;
        state.failing = state.failing.saturating_sub(1);
        state.orders[number].proven[which] = Some(is_proven && !fails);
    }

    fn issue(&self, number: usize, payload: &Value) {
        let request = payload["csr"].as_str().unwrap();
        let request = BASE64_URL_SAFE_NO_PAD.decode(request).unwrap();
        let request = CertificateSigningRequestParams::from_der(&request.into()).unwrap();
        let certificate = request.signed_by(&self.issuer).unwrap();
        let chain = certificate.pem() + &self.root_pem;
        self.state.lock().unwrap().orders[number].chain = Some(chain);
    }
}

fn token(number: usize, which: usize) -> String {
    format!("token-{number}-{which}")
}

fn ok(body: Value) -> Reply {
    Reply {
        status: "200 OK",
        location: None,
        kind: "application/json",
        body: body.to_string(),
    }
}

fn created(location: String, body: Value) -> Reply {
    Reply {
        status: "201 Created",
        location: Some(location),
        ..ok(body)
    }
}

fn refused(problem: &str) -> Reply {
    Reply {
        status: "400 Bad Request",
        kind: "application/problem+json",
        ..ok(json!({
            "type": format!("urn:ietf:params:acme:error:{problem}"), "detail": problem, "status": 400,
        }))
    }
}
