/** Memory outside V8's heap. */
import { MessageChannel, type MessagePort } from 'node:worker_threads';

/** Less is not worth the call. */
const WORTH_BYTES = 16 * 1024;

let nowhere: MessagePort | undefined;

/**
 * Frees the memory of a buffer that nobody needs any more, now, and empties the buffer. Else it stays until V8 comes upon the buffer; and for so much
 * memory outside its heap V8 collects the whole heap all the time. Does nothing if the buffer is a piece of something larger, or small.
 */
export function free(bytes: Uint8Array): void {
  const { buffer } = bytes;
  if (bytes.byteLength < WORTH_BYTES || bytes.byteLength !== buffer.byteLength || !(buffer instanceof ArrayBuffer))
    return;
  // what is transferred leaves this side, and a closed port drops what it is given (ArrayBuffer.transfer comes with Node 22)
  nowhere ??= closedPort();
  nowhere.postMessage(undefined, [buffer]);
}

function closedPort(): MessagePort {
  const { port1 } = new MessageChannel();
  port1.close();
  return port1;
}
