/** Whether the tests run on the sanitized addon, with which all takes several times as long: some do less of it then. */
export const sanitized: boolean = process.env.OURO_SANITIZED !== undefined;
