"""HAProxy's configuration for a front: mail by TCP with PROXY protocol 2, HTTP by path with X-Forwarded-For.

TLS of mail is never ended here: implicit TLS and STARTTLS go through to the servers, which have the certificates.
"""

from collections.abc import Sequence

from posthorn_ctl.topology.front import LONG_SESSIONS, Front, Server

HEAD = """\
# {note}
# Servers hear whose each connection is (PROXY, X-Forwarded-For): limits count clients and not this balancer.
global
    log stdout format raw local0 notice
    maxconn 4000   # two descriptors each; raise it together with the limit of open files
{resolvers}
defaults
    mode tcp
    log global
    option tcplog
    option redispatch
    retries 3
    timeout connect 3s
    timeout client 35m
    timeout server 35m
    default-server check inter 1s fall 2 rise 1{found}
"""
ALIVE = """\
# Only for the container's own health check.
frontend alive
    mode http
    bind 127.0.0.1:8404
    monitor-uri /alive
"""
RESOLVERS = """
resolvers containers
    nameserver dns {dns}
    resolve_retries 3
    timeout resolve 1s
    timeout retry 1s
    hold valid 1s
    hold obsolete 1s
"""
REST = {
    "dav": "{ path /.well-known/caldav /.well-known/carddav } or { path_beg /dav }",
    "api": "{ path_beg /api }",
}
"""Which paths are not the default's."""


def configuration(front: Front, note: str) -> str:
    """The text of haproxy.cfg."""
    resolvers = RESOLVERS.format(dns=front.dns) if front.dns else ""
    found = " init-addr none resolvers containers" if front.dns else " init-addr last,libc,none"
    parts = [HEAD.format(note=note, resolvers=resolvers, found=found)]
    parts += [ALIVE] if front.dns else []
    parts += [_mail(front, protocol) for protocol in front.mail()]
    if front.web() and ("http" in front.ports or "https" in front.ports):
        parts.append(_web(front))
    return "\n".join(parts)


def _mail(front: Front, protocol: str) -> str:
    lines = [
        f"frontend {protocol}",
        f"    bind {_bind(front, protocol)}",
        f"    default_backend {protocol}",
        *_backend(front.backends[protocol], protocol, ["send-proxy-v2"]),
    ]
    return "\n".join(lines) + "\n"


def _web(front: Front) -> str:
    lines = ["frontend http", "    mode http"]
    if "http" in front.ports:
        lines.append(f"    bind {_bind(front, 'http')}")
    if "https" in front.ports:
        lines.append(f"    bind {_bind(front, 'https')} ssl crt {front.certificate} alpn http/1.1 ssl-min-ver TLSv1.2")
    lines += [
        "    option httplog",
        "    http-request set-header X-Forwarded-For %[src]   # whatever a client says of itself is dropped",
    ]
    if "https" in front.ports and "http" in front.ports:
        lines.append("    http-request redirect scheme https code 301 unless { ssl_fc }")
    default = front.web_default()
    lines += [f"    use_backend {name} if {REST[name]}" for name in front.web() if name in REST and name != default]
    lines.append(f"    default_backend {default}")
    for name in front.web():
        lines += _backend(front.backends[name], name, [])
    return "\n".join(lines) + "\n"


def _backend(servers: Sequence[Server], protocol: str, words: list[str]) -> list[str]:
    lines = [f"backend {protocol}"]
    if not words:
        lines.append("    mode http")
    lines.append(f"    balance {'leastconn' if protocol in LONG_SESSIONS else 'roundrobin'}")
    lines.append("    option httpchk GET /health/ready")
    if any(server.backup for server in servers):
        lines.append("    option allbackups")
    return lines + [_server(server, words) for server in servers]


def _server(server: Server, words: list[str]) -> str:
    kind = f"server-template {server.name} {server.count}" if server.count else f"server {server.name}"
    weight = [f"weight {server.weight}"] if server.weight != 1 else []
    backup = ["backup"] if server.backup else []
    return "    " + " ".join([kind, server.address, f"check port {server.health_port}", *words, *weight, *backup])


def _bind(front: Front, protocol: str) -> str:
    host = "" if front.bind == "*" else f"[{front.bind}]" if ":" in front.bind else front.bind
    return f"{host}:{front.ports[protocol]}"
