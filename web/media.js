// One's own camera and microphone. A call works without either: one then only watches and listens.

const VIDEO = { width: { ideal: 960 }, height: { ideal: 540 }, frameRate: { ideal: 24, max: 30 } };
const AUDIO = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

export class Media {
  /** All of one's own tracks, for the preview and one's own tile. */
  stream = new MediaStream();
  /** Why something is missing, in plain words; empty when all is well. */
  note = '';
  /** Whether the browser has answered the first question, with or without tracks. */
  opened = false;
  #changed;

  /** `changed` is called after every change of tracks or of their being on. */
  constructor(changed) {
    this.#changed = changed;
  }

  get audioTrack() { return this.stream.getAudioTracks()[0] ?? null; }
  get videoTrack() { return this.stream.getVideoTracks()[0] ?? null; }
  get microphoneOn() { return this.audioTrack?.enabled ?? false; }
  get cameraOn() { return this.videoTrack !== null; }

  /** Asks for camera and microphone and takes what it can get; a camera that shall be off is not even asked for. */
  async open({ microphone = true, camera = true } = {}) {
    const attempts = camera ? [{ audio: AUDIO, video: VIDEO }, { audio: AUDIO }, { video: VIDEO }] : [{ audio: AUDIO }];
    let refusal;
    for (const wanted of attempts) {
      try {
        this.#adopt(await capture(wanted));
        refusal = undefined;
        break;
      } catch (error) {
        refusal = error;
        // Asking again for less would only repeat a question that was just answered "no".
        if (error.name === 'NotAllowedError' || error.name === 'NoDevices') break;
      }
    }
    if (refusal) this.note = inWords(refusal);
    else this.note = camera ? this.#missing() : '';
    if (!microphone && this.audioTrack) this.audioTrack.enabled = false;
    this.opened = true;
    this.#changed();
  }

  /** Mutes or unmutes; asks for a microphone if there is none yet. */
  async toggleMicrophone() {
    if (!this.audioTrack) return this.#add({ audio: AUDIO });
    this.audioTrack.enabled = !this.audioTrack.enabled;
    this.#changed();
  }

  /** Camera off really lets go of the camera, so that its light goes out. */
  async toggleCamera() {
    if (!this.videoTrack) return this.#add({ video: VIDEO });
    this.#drop(this.videoTrack);
    this.#changed();
  }

  async #add(wanted) {
    try {
      this.#adopt(await capture(wanted));
      this.note = this.#missing();
    } catch (error) {
      this.note = inWords(error);
    }
    this.#changed();
  }

  #adopt(stream) {
    for (const track of stream.getTracks()) {
      this.#drop(this.stream.getTracks().find((own) => own.kind === track.kind) ?? null);
      this.stream.addTrack(track);
      // A camera that is unplugged is a camera that is off.
      track.addEventListener('ended', () => {
        this.stream.removeTrack(track);
        this.#changed();
      });
    }
  }

  #drop(track) {
    if (!track) return;
    track.stop();
    this.stream.removeTrack(track);
  }

  #missing() {
    if (!this.videoTrack && this.audioTrack) return 'No camera found. Others will hear you.';
    if (!this.audioTrack && this.videoTrack) return 'No microphone found. Others will see you.';
    return '';
  }
}

async function capture(wanted) {
  // Absent where the page came over plain HTTP from another machine.
  if (!navigator.mediaDevices) throw Object.assign(new Error('not a secure context'), { name: 'NoDevices' });
  return navigator.mediaDevices.getUserMedia(wanted);
}

function inWords(error) {
  const reasons = {
    NotAllowedError: 'Your browser was told not to share camera or microphone. You can still join, watch and listen.',
    NotFoundError: 'No camera or microphone found. You can still join, watch and listen.',
    NotReadableError: 'Camera or microphone is in use by another program. You can still join, watch and listen.',
    NoDevices: 'Browsers share a camera only with pages opened over HTTPS or on localhost. You can still join, watch and listen.',
  };
  return reasons[error.name] ?? 'Camera and microphone are not available. You can still join, watch and listen.';
}
