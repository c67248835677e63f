/**
 * How etcd is spoken to: HTTP, or TLS with our CA and client certificate, and as which user. The files are read for each connection, so
 * that new ones count without a restart. Their contents and the password are in no message and no log.
 */
import { readFile, stat } from 'node:fs/promises';
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { createSecureContext, type SecureContext } from 'node:tls';

export interface EtcdTls {
  /** PEM files. Without `ca` the certificate authorities of Node count. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** The name that the server's certificate must have; absent: the host of the endpoint. */
  readonly serverName?: string;
}

export interface EtcdUser {
  readonly name: string;
  /** Its first line. */
  readonly passwordFile: string;
}

export interface EtcdAccess {
  readonly tls?: EtcdTls;
  readonly user?: EtcdUser;
}

export class EtcdError extends Error {
  override name = 'EtcdError';
  /** Of HTTP. */
  readonly status: number | undefined;

  constructor(message: string, status?: number) {
    super(message);
    this.status = status;
  }
}

/** ms until the head of an answer. */
export const PATIENCE = 5000;
const KEEP_ALIVE = 15_000;

/** The answer's head; its body is the caller's to read. Rejects with EtcdError. */
export async function post(
  url: string,
  body: string,
  headers: Readonly<Record<string, string>>,
  tls: EtcdTls | undefined,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const target = new URL(url);
  const secure = target.protocol === 'https:';
  const secureContext = secure ? await contextOf(tls ?? {}) : undefined;
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const common = {
    method: 'POST',
    // A connection of its own for each: what the files say now counts.
    agent: false as const,
    headers: { ...headers, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
    signal,
  };
  const fail = (error: NodeJS.ErrnoException) => {
    const closed = !secure && error.code === 'ECONNRESET';
    reject(
      closed
        ? new EtcdError('it closes the connection: does it speak TLS? Then write https://')
        : explained(error, tls),
    );
  };
  const request: ClientRequest = secure
    ? httpsRequest(target, {
        ...common,
        ...(secureContext === undefined ? {} : { secureContext }),
        ...(tls?.serverName === undefined ? {} : { servername: tls.serverName }),
        rejectUnauthorized: true,
        minVersion: 'TLSv1.2',
      })
    : httpRequest(target, common);
  const timer = setTimeout(
    () => request.destroy(new EtcdError(`no answer within ${PATIENCE / 1000} s`)),
    PATIENCE,
  ).unref();
  request.once('response', (response) => {
    clearTimeout(timer);
    resolve(response);
  });
  request.once('socket', (socket) => socket.setKeepAlive(true, KEEP_ALIVE));
  // Stays: an error may come after the head as well, and is the reader's then.
  request.on('error', (error) => {
    clearTimeout(timer);
    fail(error);
  });
  request.end(body);
  return promise;
}

/** The first line of its file. Rejects with EtcdError. */
export async function passwordOf({ passwordFile }: EtcdUser): Promise<string> {
  const bytes = await secretFile('the password', passwordFile);
  const password = bytes.toString('utf8').split('\n', 1)[0]!.replace(/\r$/, '');
  bytes.fill(0);
  if (password === '') throw new EtcdError(`the password: ${passwordFile} begins with an empty line`);
  return password;
}

async function contextOf({ ca, cert, key }: EtcdTls): Promise<SecureContext> {
  const [authorities, certificate, privateKey] = await Promise.all([
    ca === undefined ? undefined : file('the CA', ca),
    cert === undefined ? undefined : file('our certificate', cert),
    key === undefined ? undefined : secretFile('our private key', key),
  ]);
  // Told apart before OpenSSL sees them: its own words name no file.
  for (const [what, path, bytes] of [
    ['the CA', ca, authorities],
    ['our certificate', cert, certificate],
  ] as const) {
    if (bytes && !bytes.includes('-----BEGIN CERTIFICATE-----'))
      throw new EtcdError(`${what}: ${path} has no certificate in PEM`);
  }
  try {
    return createSecureContext({
      ...(authorities === undefined ? {} : { ca: authorities }),
      ...(certificate === undefined ? {} : { cert: certificate }),
      ...(privateKey === undefined ? {} : { key: privateKey }),
    });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new EtcdError(
      code === 'ERR_OSSL_X509_KEY_VALUES_MISMATCH'
        ? `the private key ${key} is not that of the certificate ${cert}`
        : `${[ca, cert, key].filter(Boolean).join(', ')}: can not be used (${code ?? 'not PEM'})`,
    );
  } finally {
    privateKey?.fill(0);
  }
}

async function file(what: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new EtcdError(`${what}: ${path}: ${code === 'ENOENT' ? 'there is no such file' : code}`);
  }
}

async function secretFile(what: string, path: string): Promise<Buffer> {
  const bytes = await file(what, path);
  const { mode } = await stat(path);
  if ((mode & 0o007) === 0) return bytes;
  bytes.fill(0);
  throw new EtcdError(`${what}: everybody can read ${path}: chmod 600 ${path}`);
}

const UNTRUSTED = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'CERT_SIGNATURE_FAILURE',
]);

/** What TLS refuses has codes; what they mean here. */
function explained(error: Error, tls: EtcdTls | undefined): EtcdError {
  if (error instanceof EtcdError) return error;
  const { code = '', message, name } = error as NodeJS.ErrnoException;
  if (name === 'AbortError' || name === 'TimeoutError') return new EtcdError('given up');
  if (UNTRUSTED.has(code)) {
    return new EtcdError(
      tls?.ca === undefined
        ? `its certificate is signed by nobody whom this host knows (${code}): name the CA`
        : `its certificate is not signed by the CA of ${tls.ca} (${code})`,
    );
  }
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') return new EtcdError(`its certificate: ${message}`);
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return new EtcdError(`its certificate is for another name: ${message.replace(/^.*altnames: /, '')}`);
  }
  if (/ALERT_CERTIFICATE_REQUIRED/.test(code) || (/BAD_CERTIFICATE/.test(code) && tls?.cert === undefined))
    return new EtcdError('it wants a certificate of ours: name cert and key');
  if (/ALERT_(BAD|UNSUPPORTED)_CERTIFICATE|ALERT_UNKNOWN_CA|ALERT_CERTIFICATE|ALERT_ACCESS_DENIED/.test(code))
    return new EtcdError(`it refuses our certificate ${tls?.cert ?? '(none)'} (${code})`);
  if (/WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG/.test(code))
    return new EtcdError('it speaks no TLS: is it http:// there?');
  return new EtcdError(message || code || name);
}
