// Short messages that come and go over the page; screen readers read them out.

const SHOWN_MS = 5_000;
/** A problem takes longer to read. */
const PROBLEM_SHOWN_MS = 12_000;

/** Shows `text`; with an `action` it stays until its button is pressed. */
export function toast(text, { problem = false, action, onAction } = {}) {
  const element = document.createElement('div');
  element.className = problem ? 'toast toast-problem' : 'toast';
  element.append(text);
  if (action) {
    const button = Object.assign(document.createElement('button'), { type: 'button', className: 'quiet', textContent: action });
    button.addEventListener('click', () => {
      onAction();
      element.remove();
    });
    element.append(button);
  } else {
    setTimeout(() => element.remove(), problem ? PROBLEM_SHOWN_MS : SHOWN_MS);
  }
  // Under a dialog nothing is seen or read out.
  (document.querySelector('dialog:modal .toasts') ?? document.getElementById('toasts')).append(element);
  return element;
}
