import { type Channel, channel } from 'node:diagnostics_channel';

// Whoever publishes asks for `hasSubscribers` first, so that no message is made for nobody. The messages: channel-messages.ts.

/** A connection of ours has been made. */
export const connected: Channel = channel('ouro.net.connect');
/** One could not be made, or was cancelled. */
export const connectFailed: Channel = channel('ouro.net.connect.error');
/** A listener listens. */
export const listening: Channel = channel('ouro.net.listen');
/** A connection is handed out by a listener. */
export const accepted: Channel = channel('ouro.net.accept');
/** A stream has been closed, and its descriptor is gone. */
export const closed: Channel = channel('ouro.net.close');
