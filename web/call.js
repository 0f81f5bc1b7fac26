// The call page: the lobby, the call, and the controls of both.
//
// The address may set everything: /?session=reading-circle&name=Asha&relay=1&transport=tls&join=1
// (relay=1 forces the relay; transport is any, udp, tcp or tls; join=1 joins without a click).
//
// window.setu, for tests and curious people with a console, only to be read:
//   setu.participantId
//   setu.peers()  -> [{ id, name, state, pair, framesDecoded, packetsReceived, packetsLost, says }]
//     state   RTCPeerConnection.connectionState
//     pair    { localType, remoteType, protocol, relayProtocol, roundTripMs } of the selected pair, or null
//     says    { microphone, camera } as the other side reports them, or null
//   The figures are those of the last reading, at most a second or so old.

import { Media } from './media.js';
import { toast } from './notices.js';
import { randomId } from './peer.js';
import { Room } from './room.js';
import { routeInWords, TRANSPORTS } from './route.js';
import { keepName, keepTab, lastName, suggestedSession, takeTab } from './tab.js';
import { hue, initials, Tiles } from './tiles.js';

const $ = (id) => document.getElementById(id);
const address = new URLSearchParams(location.search);
const tab = takeTab();
const participantId = tab.participantId ?? randomId();
const media = new Media(mediaChanged);
const tiles = new Tiles($('tiles'), $('tile-template'), soundBlocked);
let room = null;
let leaving = Promise.resolve();
let sessionId = '';

start();

function start() {
  $('lobby-route').append($('route-template').content);
  $('session').value = address.get('session') ?? tab.sessionId ?? suggestedSession();
  $('name').value = address.get('name') ?? tab.name ?? lastName();
  setRoute(wantedRoute());
  if (address.has('session')) {
    $('welcome-title').textContent = `Join ${address.get('session')}`;
    $('welcome-lede').textContent = 'Check how you look, tell the others your name, and come in.';
  }
  listen();
  showPreview();
  const opened = media.open(tab);
  if (address.get('join') === '1' || (tab.inCall && tab.sessionId === $('session').value)) opened.then(join);
}

function listen() {
  $('join').addEventListener('submit', (event) => {
    event.preventDefault();
    join();
  });
  $('name').addEventListener('input', showPreview);
  $('leave').addEventListener('click', leave);
  $('route-button').addEventListener('click', () => $('route-dialog').showModal());
  $('route-dialog').addEventListener('click', closeOnBackdrop);
  $('route').addEventListener('change', routeChanged);
  onEach('[data-toggle]', toggle);
  onEach('[data-copy]', copyLink);
  addEventListener('pagehide', pageHidden);
  // Taken out of the browser's back-forward cache, the page has no call any more: begin afresh.
  addEventListener('pageshow', (event) => event.persisted && location.reload());
  window.setu = Object.freeze({ participantId, peers: () => (room?.peers ?? []).map(snapshot) });
}

function onEach(selector, handle) {
  for (const element of document.querySelectorAll(selector)) element.addEventListener('click', () => handle(element));
}

// ---- joining and leaving

async function join() {
  sessionId = $('session').value.trim();
  if (sessionId === '') {
    showProblem('Name the session you want to join.');
    $('session').focus();
    return;
  }
  if (room || $('join-button').disabled) return;
  const name = $('name').value.trim() || 'Guest';
  keepName($('name').value.trim());
  showProblem('');
  setJoining(true);
  // The leave of a moment ago must not be taken for this new join's.
  await leaving;
  room = new Room({
    identity: { sessionId, participantId, participantName: name },
    media,
    route: route(),
    on: {
      joined: () => enterCall(name),
      peer: (peer) => tiles.showPeer(peer),
      joinedBy: (peer) => { toast(`${peer.name} joined`); showCount(); },
      gone: (peer) => { tiles.remove(peer.id); toast(`${peer.name} left`); showCount(); },
      offline: () => showStatus('Reconnecting to the server… the call goes on.'),
      removed: () => leaveWith('You were removed from this session.'),
      ended: (reason) => leaveWith(reason ? `The session has ended: ${reason}` : 'The session has ended.'),
      problem,
    },
  });
  room.join();
}

function enterCall(name) {
  const first = $('call').hidden;
  setJoining(false);
  showStatus('');
  $('lobby').hidden = true;
  $('call').hidden = false;
  $('call-route').append($('route'));
  $('call-title').textContent = sessionId;
  $('alone-url').textContent = shareLink().replace(/^https?:\/\//, '');
  document.title = `${sessionId} · Setu`;
  history.replaceState(null, '', shareLink());
  tiles.showSelf({ id: participantId, name, media });
  mediaChanged();
  showCount();
  if (first) $('call-title').focus();
}

function leave() {
  const left = room;
  room = null;
  $('call').hidden = true;
  $('lobby').hidden = false;
  $('route-dialog').close();
  $('lobby-route').append($('route'));
  tiles.clear();
  document.title = 'Setu';
  showPreview();
  $('join-button').focus();
  leaving = left?.leave();
}

function leaveWith(reason) {
  leave();
  showProblem(reason);
}

// The relay lets go of its ports only when it is told or when they run out: tell it.
function pageHidden() {
  // Before the browser has answered, nothing was switched off by anyone.
  const { microphone, camera } = media.opened ? { microphone: media.microphoneOn, camera: media.cameraOn } : tab;
  const kept = { participantId, sessionId, name: $('name').value, route: route(), inCall: room !== null };
  keepTab({ ...kept, microphone, camera });
  room?.leaveAtOnce();
}

// ---- camera and microphone

async function toggle(button) {
  button.disabled = true;
  await (button.dataset.toggle === 'camera' ? media.toggleCamera() : media.toggleMicrophone());
  button.disabled = false;
  button.focus();
  if (media.note && room) toast(media.note);
}

function mediaChanged() {
  const on = { microphone: media.microphoneOn, camera: media.cameraOn };
  const icons = { microphone: 'mic', camera: 'camera' };
  for (const button of document.querySelectorAll('[data-toggle]')) {
    const what = button.dataset.toggle;
    button.disabled = false;
    button.setAttribute('aria-pressed', String(on[what]));
    button.title = `Turn ${what} ${on[what] ? 'off' : 'on'}`;
    button.querySelector('use').setAttribute('href', `#i-${icons[what]}${on[what] ? '' : '-off'}`);
  }
  showPreview();
  room?.updateMedia();
  if (!$('call').hidden) tiles.showSelf({ id: participantId, name: $('name').value.trim() || 'Guest', media });
}

function showPreview() {
  const name = $('name').value.trim();
  $('preview').hidden = !media.cameraOn;
  $('preview-empty').hidden = media.cameraOn;
  $('preview').srcObject = media.cameraOn ? media.stream : null;
  $('preview-avatar').hidden = name === '';
  $('preview-avatar').textContent = initials(name);
  $('preview-avatar').style.setProperty('--hue', hue(participantId));
  if (media.opened) $('preview-hint').textContent = media.note || 'Your camera is off.';
}

function soundBlocked() {
  if (document.querySelector('.toast-sound')) return;
  const element = toast('Your browser holds back the sound.', { action: 'Turn on sound', onAction: () => tiles.playAll() });
  element.classList.add('toast-sound');
}

// ---- the route

function wantedRoute() {
  const transport = address.get('transport') ?? tab.route?.transport;
  return {
    forceRelay: address.has('relay') ? address.get('relay') === '1' : (tab.route?.forceRelay ?? false),
    transport: TRANSPORTS.includes(transport) ? transport : 'any',
  };
}

function route() {
  return { forceRelay: $('force-relay').checked, transport: document.querySelector('[name=transport]:checked').value };
}

function setRoute({ forceRelay, transport }) {
  $('force-relay').checked = forceRelay;
  document.querySelector(`[name=transport][value=${transport}]`).checked = true;
  $('more').open = forceRelay;
  showRoute();
}

function showRoute() {
  $('transports').hidden = !$('force-relay').checked;
  $('route-value').textContent = routeInWords(route());
}

function routeChanged() {
  showRoute();
  room?.setRoute(route());
}

function closeOnBackdrop(event) {
  if (event.target === $('route-dialog')) $('route-dialog').close();
}

// ---- what the page says

function setJoining(joining) {
  $('join-button').disabled = joining;
  $('join-button').textContent = joining ? 'Joining…' : 'Join';
}

function problem(text) {
  if (!$('call').hidden) return toast(text, { problem: true });
  room?.leaveAtOnce();
  room = null;
  setJoining(false);
  showProblem(text);
}

function showProblem(text) {
  $('join-problem').textContent = text;
  $('join-problem').hidden = text === '';
}

function showStatus(text) {
  $('call-status').textContent = text;
  $('call-status').hidden = text === '';
}

function showCount() {
  const others = room?.peers.length ?? 0;
  $('call-count').textContent = others === 0 ? 'Only you' : `${others + 1} people`;
  $('alone').hidden = others > 0;
}

async function copyLink() {
  const link = shareLink();
  try {
    await navigator.clipboard.writeText(link);
    toast('Link copied');
  } catch {
    // No clipboard over plain HTTP: show it instead.
    toast(link);
  }
}

function shareLink() {
  return `${location.origin}/?session=${encodeURIComponent(sessionId)}`;
}

function snapshot({ id, name, state, reading, says }) {
  return {
    id,
    name,
    state,
    pair: reading?.pair ?? null,
    framesDecoded: reading?.framesDecoded ?? 0,
    packetsReceived: reading?.packetsReceived ?? 0,
    packetsLost: reading?.packetsLost ?? 0,
    says,
  };
}
