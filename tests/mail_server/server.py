"""An SMTP server of another make (aiosmtpd) for the tests of mail: takes mails, or refuses them as it is told.

Arguments: a JSON object. "port" (0: any), "say" (an answer to DATA instead of taking the mail), "rcpt" (an answer
to RCPT), "certificate" and "key" (PEM), "security" ("tls", "starttls", "none"), "login" ([user, password]).
Out goes the port on the first line, then one JSON object for each mail that was taken.
"""

import asyncio
import json
import ssl
import sys
from email import message_from_bytes, policy

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

told = json.loads(sys.argv[1])


class Desk:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if told.get("rcpt"):
            return told["rcpt"]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if told.get("say"):
            return told["say"]
        mail = message_from_bytes(envelope.content, policy=policy.default)
        seen = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "subject": str(mail["subject"]),
            "id": str(mail["message-id"]),
            "type": mail.get_content_type(),
            "text": mail.get_content(),
            "tls": session.ssl is not None or told.get("security") == "tls",
            "authenticated": bool(session.authenticated),
        }
        print(json.dumps(seen), flush=True)
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    user, password = told["login"]
    known = isinstance(data, LoginPassword) and (data.login, data.password) == (user.encode(), password.encode())
    return AuthResult(success=known, handled=False)


async def main():
    context = None
    if told.get("certificate"):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(told["certificate"], told["key"])
    security = told.get("security", "none")
    more = {}
    if security == "starttls":
        more = {"tls_context": context, "require_starttls": True}
    if told.get("login"):
        more |= {"authenticator": authenticate, "auth_required": True, "auth_require_tls": security == "starttls"}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(Desk(), loop=loop, **more),
        "127.0.0.1",
        told.get("port", 0),
        ssl=context if security == "tls" else None,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
