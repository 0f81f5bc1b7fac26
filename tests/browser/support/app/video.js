// The video hook: joins with a socket of its own once the camera is granted, offers to whoever joins after it, and
// answers. `events` is 'one' (all in webrtc-signaling) or, in its older form, 'three' (an event for each type, answers
// to all).

class VideoClient {
  peers = new Map();
  announced = {};
  #options;
  #stream;

  constructor(options) {
    this.#options = options;
    this.#start();
  }

  async #start() {
    const video = { width: 160, height: 120, frameRate: 8 };
    this.#stream = await navigator.mediaDevices.getUserMedia({ video, audio: true });
    const { server, session, id, name, events, granted } = this.#options;
    await granted;
    await networksListed();
    this.socket = io(server, { transports: ['websocket', 'polling'], forceNew: true, reconnectionAttempts: 5 });
    this.socket.on('error', ({ code, message }) => errors.push(`video: ${code}: ${message}`));
    this.socket.on('participant-joined', ({ participantId }) => participantId !== id && this.#offer(participantId));
    this.socket.on('participant-left', ({ participantId }) => {
      this.#close(participantId);
      delete this.announced[participantId];
    });
    this.socket.on('session-ended', () => [...this.peers.keys()].forEach((peer) => this.#close(peer)));
    const names = events === 'one' ? ['webrtc-signaling'] : ['webrtc-offer', 'webrtc-answer', 'webrtc-ice-candidate'];
    for (const event of names) this.socket.on(event, (message) => this.#signaled(message));
    this.socket.once('session-joined', () => { this.isMember = true; });
    this.socket.once('connect', () => {
      this.socket.emit('join-session', { sessionId: session, participantId: id, participantName: name });
    });
  }

  async #offer(other) {
    this.announced[other] = (this.announced[other] ?? 0) + 1;
    const peer = this.#peer(other);
    await peer.setLocalDescription();
    this.#describe(peer, 'offer', other);
  }

  /** Candidates wait for the description that they belong to. */
  #describe(peer, type, other) {
    this.#signal(type, other, peer.localDescription);
    peer.described();
  }

  async #signaled({ type, from, to, data }) {
    if (to !== 'all' && to !== this.#options.id) return;
    if (type === 'offer') {
      const peer = this.#peer(from);
      await peer.setRemoteDescription(data);
      await peer.setLocalDescription();
      this.#describe(peer, 'answer', this.#options.events === 'one' ? from : 'all');
      for (const candidate of peer.early.splice(0)) await peer.addIceCandidate(candidate);
    }
    const peer = this.peers.get(from);
    if (type === 'answer' && peer?.signalingState === 'have-local-offer') {
      await peer.setRemoteDescription(data);
      for (const candidate of peer.early.splice(0)) await peer.addIceCandidate(candidate);
    }
    if (type === 'ice-candidate' && data && peer) {
      if (peer.remoteDescription) await peer.addIceCandidate(data);
      else peer.early.push(data);
    }
  }

  #peer(other) {
    this.#close(other);
    const peer = new RTCPeerConnection({ iceServers: this.#options.iceServers, iceCandidatePoolSize: 10 });
    peer.early = [];
    this.peers.set(other, peer);
    for (const track of this.#stream.getTracks()) peer.addTrack(track, this.#stream);
    const description = new Promise((resolve) => { peer.described = resolve; });
    peer.onicecandidate = async ({ candidate }) => {
      await description;
      if (candidate) this.#signal('ice-candidate', other, candidate);
    };
    peer.ontrack = ({ track, streams: [stream] }) => {
      if (track.kind !== 'video') return;
      const picture = Object.assign(document.createElement('video'), { srcObject: stream, autoplay: true, muted: true });
      document.body.append(picture);
      peer.picture = picture;
    };
    return peer;
  }

  #close(other) {
    this.peers.get(other)?.close();
    this.peers.get(other)?.picture?.remove();
    this.peers.delete(other);
  }

  #signal(type, to, data) {
    const { session, id, events } = this.#options;
    const message = { type, sessionId: session, from: id, to, data: data.toJSON(), timestamp: Date.now() };
    this.socket.emit(events === 'one' ? 'webrtc-signaling' : `webrtc-${type}`, message);
  }

  /** Whether `other` has been announced so many times and been offered to. */
  hasOffered(other, times) {
    return this.announced[other] === times && Boolean(this.peers.get(other)?.localDescription);
  }

  /** How many pictures of each other participant were seen. */
  async frames() {
    const frames = {};
    for (const [other, peer] of this.peers) {
      frames[other] = 0;
      for (const report of (await peer.getStats()).values()) {
        if (report.type === 'inbound-rtp' && report.kind === 'video') frames[other] += report.framesDecoded;
      }
    }
    return frames;
  }
}

/**
 * Until Chromium has told this page of its networks. With a pool of candidates, a page's first connection that answers
 * before may wait for them for ever.
 */
async function networksListed() {
  const peer = new RTCPeerConnection();
  peer.createDataChannel('networks');
  const gathered = new Promise((resolve) => { peer.onicecandidate = ({ candidate }) => candidate ?? resolve(); });
  await peer.setLocalDescription();
  await gathered;
  peer.close();
}
