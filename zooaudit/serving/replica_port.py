"""A replica's own port. In each replica Serve opens one for calls between deployments, on all addresses of
the machine and without a token, and unpickles what it receives. It belongs on the address by which Ray's
nodes reach each other, which on a single machine is the machine's own.
"""

import logging
from typing import Any

import ray

log = logging.getLogger(__name__)
ANY = "[::]:"


def bind_to_node() -> None:
    """Bind a replica's port, before it is ready: Serve has no setting for it."""
    from ray.serve._private import replica

    add = getattr(replica, "add_port_to_grpc_server", None)
    if add is None:
        log.warning(
            "this version of Ray Serve opens its replicas' ports in another way; they may be reachable from"
            " other machines"
        )
        return

    def add_own(server: Any, address: str) -> Any:
        host = ray.util.get_node_ip_address()
        own = f"[{host}]:" if ":" in host else f"{host}:"
        return add(server, own + address.removeprefix(ANY) if address.startswith(ANY) else address)

    replica.add_port_to_grpc_server = add_own
