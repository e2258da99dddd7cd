"""Whose a bearer token is: signed ones by the provider's public keys (RFC 7519, 9068), others by asking it (RFC 7662).

Every answer of the provider is bounded in size and time, and remembered for a while under a keyed hash of the token.
"""

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import jwt

from posthorn_assembly.provider import Ask
from posthorn_model.errors import AuthenticationFailed, Unavailable
from posthorn_model.ports import Clock
from posthorn_node.settings import OauthSettings

MAX_REMEMBERED: Final = 10_000
LEEWAY: Final = 30.0
"""Seconds that the provider's clock may be off."""
KEYS_SECONDS: Final = 600.0
"""How long the provider's keys are used before they are asked for again."""
KEYS_PAUSE: Final = 10.0
"""Between two requests for keys at least: tokens with made-up key ids must not be a way to flood the provider."""
MAX_KEYS: Final = 100


class Tokens:
    """One for a process; the port posthorn_storage.directory.logins.TokenJudge."""

    def __init__(self, settings: OauthSettings, ask: Ask, clock: Clock) -> None:
        self._settings = settings
        self._ask = ask
        self._clock = clock
        self._hash_key = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._keys_at = float("-inf")
        self._keys_lock = asyncio.Lock()

    async def owner(self, token: str) -> str:
        """The address that the token says. Raises AuthenticationFailed, Unavailable, Overloaded."""
        digest = hashlib.blake2b(token.encode(), key=self._hash_key, digest_size=32).digest()
        until, owner = self._remembered.get(digest, (0.0, ""))
        if until > self._clock.monotonic():
            return owner
        claims = await self._claims(token)
        owner = self._owner(claims)
        left = float(claims["exp"]) - self._clock.time() if "exp" in claims else self._settings.remember
        self._remembered[digest] = (self._clock.monotonic() + min(left, self._settings.remember), owner)
        self._remembered.move_to_end(digest)
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return owner

    async def _claims(self, token: str) -> Mapping[str, Any]:
        if self._settings.jwks_url and token.count(".") == 2:
            return await self._signed(token)
        if self._settings.introspection_url:
            return await self._introspected(token)
        raise AuthenticationFailed(reason="a token of no kind that is taken")

    async def _signed(self, token: str) -> Mapping[str, Any]:
        settings = self._settings
        try:
            key = await self._key(str(jwt.get_unverified_header(token).get("kid", "")))
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(settings.algorithms),
                audience=settings.audience,
                issuer=settings.issuer,
                leeway=LEEWAY,
                options={"require": ["exp", "iss", "aud"]},
            )
        except (jwt.PyJWTError, ValueError) as error:
            raise AuthenticationFailed(reason=f"token: {error}"[:200]) from None
        return claims

    async def _key(self, name: str) -> jwt.PyJWK:
        """The provider's key of this id, or its only one. Raises AuthenticationFailed, Unavailable."""
        async with self._keys_lock:
            age = self._clock.monotonic() - self._keys_at
            if age > KEYS_SECONDS or (name not in self._keys and age > KEYS_PAUSE):
                await self._fetch_keys()
        if not name and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        if name not in self._keys:
            raise AuthenticationFailed(reason=f"the provider has no key {name[:60]}")
        return self._keys[name]

    async def _fetch_keys(self) -> None:
        try:
            found = await self._ask.get(self._settings.jwks_url)
        except Unavailable:
            if not self._keys:
                raise
            return  # those known are better than none; a key that was taken back is known KEYS_SECONDS longer
        finally:
            self._keys_at = self._clock.monotonic()
        listed = found.get("keys")
        keys = {}
        for each in (listed if isinstance(listed, list) else [])[:MAX_KEYS]:
            try:
                key = jwt.PyJWK.from_dict(each)
            except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError):
                continue  # a kind of key that is not known here
            keys[key.key_id or ""] = key
        self._keys = keys

    async def _introspected(self, token: str) -> Mapping[str, Any]:
        settings = self._settings
        found = await self._ask.post(
            settings.introspection_url,
            {"token": token, "token_type_hint": "access_token"},
            (settings.client_id, settings.client_secret.get_secret_value()),
        )
        if found.get("active") is not True:
            raise AuthenticationFailed(reason="the provider says that the token is not active")
        expiry = found.get("exp")
        if expiry is not None and (not isinstance(expiry, int | float) or expiry <= self._clock.time() - LEEWAY):
            raise AuthenticationFailed(reason="the token has expired")
        if settings.issuer and found.get("iss", settings.issuer) != settings.issuer:
            raise AuthenticationFailed(reason="a token of another issuer")
        audience = found.get("aud", [])
        if settings.audience and settings.audience not in ([audience] if isinstance(audience, str) else audience):
            raise AuthenticationFailed(reason="a token for another audience")
        return found

    def _owner(self, claims: Mapping[str, Any]) -> str:
        owner = claims.get(self._settings.claim)
        if not isinstance(owner, str) or not owner:
            raise AuthenticationFailed(reason=f"the token has no claim {self._settings.claim}")
        if self._settings.claim == "email" and claims.get("email_verified") is False:
            raise AuthenticationFailed(reason="the provider has not verified that address")
        return owner
