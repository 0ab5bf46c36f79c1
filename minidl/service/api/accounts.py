"""Tokens, and the session of the web page."""

from __future__ import annotations

import time

from fastapi import APIRouter, HTTPException, Request, Response

from minidl.service.api.documents import (
    Me,
    NewTokenDocument,
    SessionRequest,
    TokenDocument,
    TokenRequest,
    TokensDocument,
)
from minidl.service.api.parts import PartsOf
from minidl.service.api.problems import told
from minidl.service.api.security import COOKIE, Admin, Reader, from_own_page, identified
from minidl.service.records import TokenRecord

router = APIRouter(tags=["tokens"])

#: A browser forgets a cookie by then; the token may end sooner.
COOKIE_SECONDS = 30 * 24 * 3600


@router.get("/v1/me", summary="Who asks", responses=told())
async def me(record: Reader) -> Me:
    """Return the user and role of the token."""
    return _me(record)


def _me(record: TokenRecord) -> Me:
    return Me(user=record.user, role=record.role, token_id=record.id, expires_at=record.expires_at)


@router.get("/v1/tokens", summary="All tokens", responses=told())
async def tokens(record: Admin, parts: PartsOf) -> TokensDocument:
    """Return what is known of each; the texts are kept nowhere."""
    found = await parts.call(parts.store.tokens)
    return TokensDocument(tokens=[TokenDocument.model_validate(token) for token in found])


@router.post("/v1/tokens", status_code=201, summary="Make a token", responses=told(422))
async def create_token(asked: TokenRequest, record: Admin, parts: PartsOf) -> NewTokenDocument:
    """Make a token, and tell its text this once."""
    made, text = await parts.call(
        parts.store.create_token,
        user=asked.user,
        role=asked.role,
        label=asked.label,
        ttl=asked.ttl,
        actor=record.user,
    )
    return NewTokenDocument(token=text, record=TokenDocument.model_validate(made))


@router.delete("/v1/tokens/{token_id}", summary="Let a token hold no more", responses=told(404))
async def revoke_token(token_id: str, record: Admin, parts: PartsOf) -> TokenDocument:
    """Revoke a token; requests with it are refused from now on."""
    if not (token_id.isascii() and token_id.isalnum() and len(token_id) <= 40):
        raise HTTPException(404, "there is no such token")
    revoked = await parts.call(parts.store.revoke_token, token_id, actor=record.user)
    parts.changed()  # its streams end
    return TokenDocument.model_validate(revoked)


@router.post("/session", summary="Keep a token in a cookie", responses=told(422))
async def sign_in(
    request: Request, response: Response, asked: SessionRequest, parts: PartsOf
) -> Me:
    """Set a cookie that browsers send, and scripts cannot read."""
    if set(request.headers) & {"origin", "sec-fetch-site"} and not from_own_page(request):
        raise HTTPException(403, "a session begins on the service's own page")
    record = await identified(parts, request, asked.token.strip())
    left = None if record.expires_at is None else int(record.expires_at - time.time())
    response.set_cookie(
        COOKIE,
        asked.token.strip(),
        max_age=COOKIE_SECONDS if left is None else max(0, min(left, COOKIE_SECONDS)),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    await parts.call(
        parts.store.audit, "signed_in", actor=record.user, data={"token_id": record.id}
    )
    return _me(record)


@router.delete(
    "/session",
    status_code=204,
    response_class=Response,
    summary="Forget the cookie",
    responses=told(),
)
async def sign_out(request: Request) -> Response:
    """Let the browser forget the token; it holds on."""
    if not from_own_page(request):
        raise HTTPException(403, "a session ends on the service's own page")
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response
