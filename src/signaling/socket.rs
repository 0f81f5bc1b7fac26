//! The only file that knows socketioxide.
//!
//! socketioxide runs every event of a socket as a task of its own, so neighbours overtake each other. Here each
//! socket has an inbox, filled as the packets arrive and served by one task in that order.

use std::{
    collections::HashMap,
    fmt::Display,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::value::RawValue;
use socketioxide::{
    ParserConfig, SendError, SocketError, SocketIo, TransportType,
    adapter::LocalAdapter,
    extract::AckSender,
    handler::{ConnectHandler, DisconnectHandler, FromMessageParts, MessageHandler, Value},
    layer::SocketIoLayer,
    socket::{DisconnectReason, Socket},
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc};

use crate::clock::Now;

use super::protocol::{Event, Refusal, Request, acknowledgement};
use super::service::{Connection, Parting, Service};
use super::session::SocketId;

/// The Socket.IO server: Engine.IO 4 over WebSocket and long-polling.
#[derive(Clone)]
pub(super) struct Transport {
    pub(super) layer: SocketIoLayer,
    io: SocketIo,
}

impl Transport {
    /// Serves `service` on the root namespace.
    pub(super) fn open(service: Arc<Service>) -> Self {
        let (layer, io) = SocketIo::builder()
            .req_path("/socket.io")
            .transports([TransportType::Websocket, TransportType::Polling])
            .ping_interval(Duration::from_millis(25_000))
            .ping_timeout(Duration::from_millis(20_000))
            .upgrade_timeout(Duration::from_millis(10_000))
            .connect_timeout(Duration::from_millis(45_000))
            .max_payload(PAYLOAD_BYTES_MAX as u64)
            .ws_max_message_size(PAYLOAD_BYTES_MAX)
            .ws_max_frame_size(PAYLOAD_BYTES_MAX)
            .with_parser(ParserConfig::common().max_incoming_binary_buf_size(PAYLOAD_BYTES_MAX))
            .max_buffer_size(OUTBOX_PACKETS_MAX)
            .build_layer();
        io.ns("/", Reception(service));
        Self { layer, io }
    }

    /// Closes every connection; those whose clients do not listen are given up.
    pub(super) async fn close(&self) {
        tokio::time::timeout(CLOSE_WITHIN, self.io.close())
            .await
            .ok();
    }
}

/// The connected sockets of this process.
#[derive(Default)]
pub(super) struct Sockets {
    outlets: RwLock<HashMap<SocketId, Arc<Outlet>>>,
    added: AtomicU64,
}

impl Sockets {
    /// Sends `event` to each of `to` that is here. A socket that cannot take it is cut off, the others get theirs.
    pub(super) fn deliver(&self, to: &[SocketId], event: &Event) {
        let outlets = self.outlets.read().unwrap_or_else(PoisonError::into_inner);
        for outlet in to.iter().filter_map(|socket| outlets.get(socket)) {
            outlet.send(event);
        }
    }

    /// socketioxide's id is the connection's: a client that disconnects and connects again on the same one has it
    /// twice, and the end of the first must not end the second. So the sockets are numbered.
    fn add(&self, outlet: Arc<Outlet>) -> SocketId {
        let number = self.added.fetch_add(1, Ordering::Relaxed);
        let id = SocketId::new(&format!("{}#{number}", outlet.socket.id));
        self.outlets
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.clone(), outlet);
        id
    }

    fn remove(&self, id: &SocketId) {
        self.outlets
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }
}

/// The way out to one client.
struct Outlet {
    socket: Arc<Socket>,
    cut: Arc<Notify>,
}

impl Outlet {
    fn send(&self, event: &Event) {
        self.cut_if_full(self.socket.emit(event.name, &event.payload));
    }

    fn acknowledge(&self, ack: AckSender, payload: &RawValue) {
        self.cut_if_full(ack.send(payload));
    }

    fn cut_if_full(&self, sent: Result<(), SendError>) {
        match sent {
            Err(SendError::Socket(SocketError::InternalChannelFull)) => self.cut.notify_one(),
            // Closed: its own task is about to hear of that. Unencodable: the payload is JSON already.
            Ok(()) | Err(SendError::Socket(SocketError::Closed) | SendError::Serialize(_)) => {}
        }
    }

    /// Says goodbye, unless the connection has ended already, as soon as the client has read enough for a goodbye to
    /// fit.
    async fn close(&self) {
        if !self.socket.connected() {
            return;
        }
        tracing::debug!("a client that asked or was told too much at once is cut off");
        for _ in 0..GOODBYE_TRIES {
            match Arc::clone(&self.socket).disconnect() {
                Err(SocketError::InternalChannelFull) => tokio::time::sleep(GOODBYE_RETRY).await,
                Ok(()) | Err(SocketError::Closed) => return,
            }
        }
    }
}

/// Receives new sockets.
#[derive(Clone)]
struct Reception(Arc<Service>);

/// What [`Reception`] prepares before the client is told that it is connected, so that nothing it sends can find
/// the socket unprepared, and takes up when it is.
#[derive(Clone)]
struct Prepared {
    inbox: Arc<Mutex<Option<mpsc::Receiver<Job>>>>,
    cut: Arc<Notify>,
}

type Admission<'a> = Pin<Box<dyn Future<Output = Result<(), Box<dyn Display + Send>>> + Send + 'a>>;

impl ConnectHandler<LocalAdapter, Self> for Reception {
    fn call_middleware<'a>(&'a self, socket: Arc<Socket>, _: &'a Option<Value>) -> Admission<'a> {
        let (jobs, inbox) = mpsc::channel(INBOX_JOBS_MAX);
        let farewell = jobs.clone().try_reserve_owned().ok();
        let cut = Arc::new(Notify::new());
        let space = Arc::new(Semaphore::new(INBOX_BYTES_MAX));
        socket.on_disconnect(Farewell(Mutex::new(farewell)));
        socket.on_fallback(Inbox {
            jobs,
            space,
            cut: Arc::clone(&cut),
        });
        let inbox = Arc::new(Mutex::new(Some(inbox)));
        socket.extensions.insert(Prepared { inbox, cut });
        Box::pin(async { Ok(()) })
    }

    fn call(&self, socket: Arc<Socket>, _: Option<Value>) {
        let Some(Prepared { inbox, cut }) = socket.extensions.remove::<Prepared>() else {
            return;
        };
        let inbox = inbox.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(inbox) = inbox {
            let outlet = Arc::new(Outlet { socket, cut });
            tokio::spawn(serve(Arc::clone(&self.0), outlet, inbox));
        }
    }
}

/// One thing for a socket's task to do.
enum Job {
    Packet {
        packet: Value,
        ack: Option<AckSender>,
        /// Its place in the inbox, free again when it is served.
        _space: OwnedSemaphorePermit,
    },
    Farewell(Parting),
}

/// Where a socket's packets wait, in the order in which they arrived.
struct Inbox {
    jobs: mpsc::Sender<Job>,
    space: Arc<Semaphore>,
    cut: Arc<Notify>,
}

impl MessageHandler<LocalAdapter, Self> for Inbox {
    fn call(&self, socket: Arc<Socket>, mut packet: Value, ack_id: Option<i64>) {
        let bytes = packet.len().clamp(PACKET_BYTES_MIN, INBOX_BYTES_MAX);
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX);
        let space = match Arc::clone(&self.space).try_acquire_many_owned(wanted) {
            Ok(space) => space,
            Err(TryAcquireError::NoPermits) => return self.overflow(&socket),
            Err(TryAcquireError::Closed) => return,
        };
        let ack = ack_id.map(|_| {
            let Ok(ack) = AckSender::from_message_parts(&socket, &mut packet, &ack_id);
            ack
        });
        // There is a slot for each packet of the least size; a closed inbox belongs to a socket that has ended.
        self.jobs
            .try_send(Job::Packet {
                packet,
                ack,
                _space: space,
            })
            .ok();
    }
}

impl Inbox {
    /// A packet lost in the middle would break the order that clients rely on: so this ends the socket.
    fn overflow(&self, socket: &Socket) {
        self.space.close();
        let error = Event::error(&Refusal::FLOOD);
        socket.emit(error.name, &error.payload).ok();
        self.cut.notify_one();
    }
}

/// Tells a socket's task that the connection has ended. Its place in the inbox is always kept.
struct Farewell(Mutex<Option<mpsc::OwnedPermit<Job>>>);

impl DisconnectHandler<LocalAdapter, Self> for Farewell {
    fn call_with_defer(
        &self,
        socket: Arc<Socket>,
        reason: DisconnectReason,
        forget: fn(Arc<Socket>),
    ) {
        let place = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(place) = place {
            place.send(Job::Farewell(parting(reason)));
        }
        forget(socket);
    }
}

/// A disconnect packet is a goodbye; everything else may come back.
fn parting(reason: DisconnectReason) -> Parting {
    match reason {
        DisconnectReason::ClientNSDisconnect => Parting::Goodbye,
        DisconnectReason::TransportClose
        | DisconnectReason::MultipleHttpPollingError
        | DisconnectReason::PacketParsingError
        | DisconnectReason::TransportError
        | DisconnectReason::HeartbeatTimeout
        | DisconnectReason::ServerNSDisconnect
        | DisconnectReason::ClosingServer => Parting::Lost,
    }
}

/// Serves one socket from its first packet to its end, and waits out its participant's grace.
async fn serve(service: Arc<Service>, outlet: Arc<Outlet>, mut inbox: mpsc::Receiver<Job>) {
    let id = service.sockets.add(Arc::clone(&outlet));
    let mut connection = Connection::new(id.clone());
    let parting = serve_inbox(&service, &mut connection, &outlet, &mut inbox).await;
    service.sockets.remove(&id);
    let absence = service
        .disconnected(Now::read(), &connection, parting)
        .await;
    drop(inbox);
    let goodbye = async move { outlet.close().await };
    let grace = async {
        if let Some(absence) = absence {
            tokio::time::sleep(service.revocation_grace).await;
            service.lapse(Now::read(), &absence);
        }
    };
    tokio::join!(goodbye, grace);
}

async fn serve_inbox(
    service: &Service,
    connection: &mut Connection,
    outlet: &Outlet,
    inbox: &mut mpsc::Receiver<Job>,
) -> Parting {
    loop {
        tokio::select! {
            biased;
            () = outlet.cut.notified() => return Parting::Lost,
            job = inbox.recv() => match job {
                Some(Job::Packet { packet, ack, .. }) => {
                    serve_packet(service, connection, outlet, &packet, ack).await;
                }
                Some(Job::Farewell(parting)) => return parting,
                None => return Parting::Lost,
            },
            () = at(connection.refresh_at) => service.refresh(Now::read(), connection),
        }
    }
}

async fn serve_packet(
    service: &Service,
    connection: &mut Connection,
    outlet: &Outlet,
    packet: &Value,
    ack: Option<AckSender>,
) {
    let now = Now::read();
    let Value::Str(text, attachments) = packet else {
        return;
    };
    let Some(mut request) = Request::parse(now.unix, text.as_str()) else {
        return;
    };
    if attachments.is_some() {
        request = Err(Refusal::payload());
    }
    let answer = match request {
        Ok(request) => service.handle(now, connection, request).await,
        Err(refusal) => Err(refusal),
    };
    if let Err(refusal) = &answer {
        tracing::debug!(?refusal, "refused");
        outlet.send(&Event::error(refusal));
    }
    if let Some(ack) = ack {
        outlet.acknowledge(ack, &acknowledgement(&answer));
    }
}

/// Never, where there is nothing to wait for.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// The largest message, as the clients were told it.
const PAYLOAD_BYTES_MAX: usize = 1_000_000;
/// What may wait to be served, in bytes: a few messages of the largest size.
const INBOX_BYTES_MAX: usize = 4 * PAYLOAD_BYTES_MAX;
/// What the smallest packet counts for.
const PACKET_BYTES_MIN: usize = 256;
/// One slot for each of the smallest packets, and the one kept for the farewell.
const INBOX_JOBS_MAX: usize = INBOX_BYTES_MAX / PACKET_BYTES_MIN + 1;
/// What may wait to be sent: enough for every candidate of a full session at once.
const OUTBOX_PACKETS_MAX: usize = 1024;
/// How long closing all connections may take.
const CLOSE_WITHIN: Duration = Duration::from_millis(500);
/// A client that does not read within these tries fails its heartbeat meanwhile.
const GOODBYE_TRIES: u32 = 60;
const GOODBYE_RETRY: Duration = Duration::from_secs(1);
