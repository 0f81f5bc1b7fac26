// One page of the circle: ?server=…&session=…&id=…&name=…&clients=reading,video,plain

const query = Object.fromEntries(new URLSearchParams(location.search));
const clients = (query.clients ?? '').split(',');
const iceServers = JSON.parse(query.ice ?? '[]');

window.errors = [];
// Until somebody presses the button, as it were.
const granted = new Promise((resolve) => { window.grantCamera = resolve; });
if (clients.includes('reading')) window.reading = new ReadingClient(query);
if (clients.includes('plain')) window.plain = new PlainClient(query);
if (clients.includes('video')) window.video = new VideoClient({ ...query, iceServers, granted, events: 'one' });
if (clients.includes('older-video')) window.video = new VideoClient({ ...query, iceServers, granted, events: 'three' });
