"""nginx's configuration for a front: streams for mail, a proxy for HTTP.

The open source edition sends PROXY protocol 1 and asks no health checks of its own: a server that refuses a connection
is left out for `fail_timeout`, and the client goes to the next one. A draining node closes its listeners, which is
such a refusal. TLS of mail is never ended here.
"""

from collections.abc import Sequence

from posthorn_ctl.topology.front import LONG_SESSIONS, Front, Server

HEAD = """\
# {note}
# Debian: apt-get install nginx libnginx-mod-stream. Every server hears whose connection it is (PROXY, X-Forwarded-For).
include /etc/nginx/modules-enabled/*.conf;
worker_processes auto;
error_log stderr notice;
events {{
    worker_connections 8192;
}}
"""
STREAM = """\
stream {
    proxy_protocol on;
    proxy_connect_timeout 3s;
    proxy_timeout 35m;
    proxy_next_upstream on;
    proxy_next_upstream_tries 3;
    tcp_nodelay on;
"""
HTTP = """\
http {
    access_log off;
    server_tokens off;
    client_max_body_size 0;          # the services have limits of their own
    proxy_request_buffering off;
    proxy_buffering off;             # EventSource must not wait
    proxy_http_version 1.1;
    proxy_connect_timeout 3s;
    proxy_read_timeout 35m;
    proxy_set_header Host $http_host;
    proxy_set_header Connection "";
    proxy_set_header X-Forwarded-For $remote_addr;   # whatever a client says of itself is dropped
"""
PATHS = {
    "dav": ("= /.well-known/caldav", "= /.well-known/carddav", "/dav"),
    "api": ("/api",),
}


def configuration(front: Front, note: str) -> str:
    """The text of nginx.conf."""
    parts = [HEAD.format(note=note)]
    if front.mail():
        parts.append(STREAM + "\n".join(_mail(front, protocol) for protocol in front.mail()) + "\n}\n")
    if front.web() and ("http" in front.ports or "https" in front.ports):
        parts.append(_web(front))
    return "\n".join(parts)


def _mail(front: Front, protocol: str) -> str:
    server = [f"    server {{ listen {_bind(front, protocol)}; proxy_pass {protocol}; }}"]
    return "\n".join(["", *_upstream(front.backends[protocol], protocol), *server])


def _web(front: Front) -> str:
    lines = [HTTP]
    for name in front.web():
        lines += _upstream(front.backends[name], name)
    if "https" in front.ports:
        if "http" in front.ports:
            listen = _bind(front, "http")
            lines += [
                "    server {",
                f"        listen {listen};",
                "        return 301 https://$host$request_uri;",
                "    }",
            ]
        lines += [
            "    server {",
            f"        listen {_bind(front, 'https')} ssl;",
            "        ssl_protocols TLSv1.2 TLSv1.3;",
            f"        ssl_certificate {front.certificate};",
            f"        ssl_certificate_key {front.certificate};",
        ]
    else:
        lines += ["    server {", f"        listen {_bind(front, 'http')};"]
    default = front.web_default()
    for name in front.web():
        if name != default:
            lines += [f"        location {path} {{ proxy_pass http://{name}; }}" for path in PATHS.get(name, ())]
    return "\n".join([*lines, f"        location / {{ proxy_pass http://{default}; }}", "    }", "}"]) + "\n"


def _upstream(servers: Sequence[Server], name: str) -> list[str]:
    lines = [f"    upstream {name} {{"]
    if name in LONG_SESSIONS:
        lines.append("        least_conn;")
    return [*lines, *(f"        {_server(server)}" for server in servers), "    }"]


def _server(server: Server) -> str:
    weight = [f"weight={server.weight}"] if server.weight != 1 else []
    backup = ["backup"] if server.backup else []
    return " ".join(["server", server.address, "max_fails=1", "fail_timeout=5s", *weight, *backup]) + ";"


def _bind(front: Front, protocol: str) -> str:
    host = "*" if front.bind == "*" else f"[{front.bind}]" if ":" in front.bind else front.bind
    return f"{host}:{front.ports[protocol]}"
