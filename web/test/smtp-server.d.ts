/** What the tests use of it; the package comes without types. */
declare module "smtp-server" {
  import type { Server } from "node:net";
  import type { Readable } from "node:stream";

  type Session = { envelope: { rcptTo: { address: string }[] } };
  export class SMTPServer {
    server: Server;
    constructor(options: {
      disabledCommands?: string[];
      logger?: boolean;
      onData: (stream: Readable, session: Session, done: (err?: Error) => void) => void;
    });
    listen(port: number, host: string, listening: () => void): void;
    close(closed: () => void): void;
  }
}
