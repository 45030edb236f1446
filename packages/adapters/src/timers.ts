// Timers as they are when the program begins: tests replace them by clocks of their own, which may never come to the time.

export const soon: typeof setImmediate = setImmediate;
export const after: typeof setTimeout = setTimeout;
