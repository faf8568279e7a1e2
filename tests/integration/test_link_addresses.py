"""Which addresses and spellings the reader of links connects to: none of these.

The reader has its strict defaults, except for ports, and a name server that parses numbers as the C
library does. Servers listen on both loopback addresses. Each case must be refused, with the reason
that people read, before any connection.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest

from bot.content.link_reader import _redirect
from bot.content.web_addresses import (
    WEB_PORTS,
    HostRules,
    IPAddress,
    PrivateHosts,
    check_link,
    is_public,
    parse_link,
)
from bot.domain.attachments import Omission
from bot.domain.errors import AttachmentError
from tests.support.web_sites import LIMIT, Names, make_reader, pages, redirect, reply, serve

CASES = Path(__file__).parents[1] / "fixtures" / "links"


def cases(name: str) -> list[str]:
    return (CASES / f"{name}.txt").read_text("utf-8").splitlines()


PUBLIC = IPv4Address("127.0.0.1")  # stands for a public address where a test says so
PRIVATE_4, PRIVATE_6, SPELLINGS, SCHEMES = map(cases, ("ipv4", "ipv6", "hosts", "links"))


async def resolve(host: str) -> Sequence[IPAddress]:
    """Parse numbers as the C library does; resolve every other name to this machine."""
    try:
        found = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return [IPv4Address("127.0.0.1")]
    return [ip_address(each[4][0]) for each in found]


def links(ports: Sequence[int]) -> list[str]:
    hosts = [*PRIVATE_4, *(f"[{each}]" for each in PRIVATE_6), *SPELLINGS]
    return [f"http://{host}:{port}/" for host in hosts for port in ports] + SCHEMES


async def test_no_address_and_no_spelling_is_let_through() -> None:
    """Each is tried as a link, and as the address of a harmless name. None may get through."""
    let_through: list[str] = []
    tried = 0
    async with serve(reply(b"secret")) as four, serve(reply(b"secret"), host="::1") as six:
        strict = make_reader(is_allowed_address=is_public, resolve=resolve, seconds=5.0)
        for link in links([four.port, six.port]):
            tried += 1
            try:
                await strict.download(link, limit=LIMIT)
            except AttachmentError as error:
                if error.omission in (Omission.FORBIDDEN_ADDRESS, Omission.UNREACHABLE):
                    continue
            let_through.append(link)
        assert let_through == []
        assert four.connections == six.connections == 0
    assert tried >= 500


async def test_a_name_that_leads_to_such_an_address_is_refused() -> None:
    for address in PRIVATE_4 + PRIVATE_6:

        async def lead(_host: str, address: str = address) -> Sequence[IPAddress]:
            return [IPv4Address("8.8.8.8"), ip_address(address)]

        reader = make_reader(is_allowed_address=is_public, resolve=lead)
        with pytest.raises(AttachmentError) as caught:
            await reader.download("http://page.test:8080/", limit=LIMIT)
        assert caught.value.omission is Omission.FORBIDDEN_ADDRESS, address
        assert address in str(caught.value) or str(ip_address(address)) in str(caught.value)


def test_such_addresses_are_not_public_and_those_beside_them_are() -> None:
    assert [each for each in PRIVATE_4 + PRIVATE_6 if is_public(ip_address(each))] == []
    assert [each for each in cases("public") if not is_public(ip_address(each))] == []
    assert len(PRIVATE_4 + PRIVATE_6) > 100 and cases("public")


def test_an_address_with_a_zone_is_not_public() -> None:
    assert not is_public(IPv6Address("2a00:1450:4001::1%eth0"))


@pytest.mark.parametrize(
    ("link", "host", "port"),
    [
        ("http://Page.Test/", "page.test", 80),
        ("https://page.test./x", "page.test", 443),
        ("https://page.test:8443", "page.test", 8443),
        ("https://page.test:", "page.test", 443),
        ("http://a_b.page-1.test/", "a_b.page-1.test", 80),
        ("http://bücher.test/", "xn--bcher-kva.test", 80),
        ("http://例え。テスト/", "xn--r8jz45g.xn--zckzah", 80),
        ("http://1.page.test/", "1.page.test", 80),
        ("http://8.8.8.8/", "8.8.8.8", 80),
        ("http://[2606:4700:4700:0::1111]/", "2606:4700:4700::1111", 80),
        ("http://１.1.1.1/", "1.1.1.1", 80),
    ],
)
def test_a_link_is_reduced_to_its_plain_host(link: str, host: str, port: int) -> None:
    target = parse_link(link)
    assert (target.host, target.port) == (host, port)
    assert target.url.raw_host == host


@pytest.mark.parametrize("host", ["你." * 500, "你" * 30_000, "a@" * 400])
def test_a_host_that_is_too_long_is_refused_before_it_is_parsed(host: str) -> None:
    """Converting a long international name takes 50 ms, and a redirect may name 32,000 letters."""
    with pytest.raises(AttachmentError, match="too long"):
        parse_link(f"http://{host}test/path")
    for location in (f"http://{host}test/path", f"//{host}test", f"/a/../\\//{host}test"):
        sent = location.encode().decode("latin-1")
        with pytest.raises(AttachmentError, match="too long"):
            _redirect(parse_link("https://page.test/a/b"), sent)


@pytest.mark.parametrize("link", ["http://page.test/" + "x" * 9_000, "http://page.test/\r\nX: y"])
def test_a_link_that_is_none_is_refused(link: str) -> None:
    with pytest.raises(AttachmentError):
        parse_link(link)


@pytest.mark.parametrize(
    "port", [1, 22, 25, 53, 81, 110, 143, 3306, 5432, 6379, 9200, 11211, 65535]
)
async def test_only_web_ports_are_read(port: int) -> None:
    reader = make_reader(ports=WEB_PORTS)
    for link in (f"http://page.test:{port}/", f"https://page.test:{port}/"):
        with pytest.raises(AttachmentError) as caught:
            await reader.download(link, limit=LIMIT)
        assert caught.value.omission is Omission.FORBIDDEN_ADDRESS


# ── lists of hosts ────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("allowed", "denied", "link", "permitted"),
    [
        ((), (), "http://page.test/", True),
        (("page.test",), (), "http://page.test/", True),
        (("page.test",), (), "http://www.page.test/", True),
        (("page.test",), (), "http://PAGE.test./", True),
        (("page.test",), (), "http://evilpage.test/", False),
        (("page.test",), (), "http://page.test.evil.test/", False),
        (("page.test",), (), "http://other.test/", False),
        (("page.test",), (), "http://8.8.8.8/", False),
        (("www.page.test",), (), "http://page.test/", False),
        (("*.page.test",), (), "http://www.page.test/", True),
        ((".page.test",), (), "http://www.page.test/", True),
        (("Page.Test.",), (), "http://page.test/", True),
        (("bücher.test",), (), "http://xn--bcher-kva.test/", True),
        (("xn--bcher-kva.test",), (), "http://www.bücher.test/", True),
        (("test",), (), "http://page.test/", True),
        ((), ("page.test",), "http://page.test/", False),
        ((), ("page.test",), "http://a.b.page.test/", False),
        ((), ("page.test",), "http://evilpage.test/", True),
        (("page.test",), ("page.test",), "http://page.test/", False),
        (("page.test",), ("a.page.test",), "http://a.page.test/", False),
        (("page.test",), ("a.page.test",), "http://b.page.test/", True),
        (("a.page.test",), ("page.test",), "http://a.page.test/", False),
        (("8.8.8.8",), (), "http://8.8.8.8/", True),
        (("8.8.8",), (), "http://8.8.8.8/", False),
        (("8",), (), "http://8.8.8.8/", False),
        ((), ("8.8",), "http://8.8.8.8/", True),
        ((), ("8.8.8.8",), "http://8.8.8.8/", False),
        (("8.8.8.8",), (), "http://8.8.8.8.page.test/", False),
        (("[2606:4700::1]",), (), "http://[2606:4700:0::1]/", True),
        (("2606:4700::1",), (), "http://[2606:4700::2]/", False),
        ((), ("2606:4700::1",), "http://[2606:4700::0001]/", False),
    ],
)
def test_lists_of_hosts(
    allowed: tuple[str, ...], denied: tuple[str, ...], link: str, permitted: bool
) -> None:
    assert HostRules(allowed=allowed, denied=denied).permit(parse_link(link)) is permitted


async def test_an_excluded_host_is_not_even_looked_up() -> None:
    async def never(host: str) -> Sequence[IPAddress]:
        raise AssertionError(host)

    reader = make_reader(resolve=never, denied_hosts=["page.test"])
    with pytest.raises(AttachmentError) as caught:
        await reader.download("http://www.page.test/", limit=LIMIT)
    assert caught.value.omission is Omission.FORBIDDEN_ADDRESS


def test_a_redirect_s_form_is_checked_like_a_link_s() -> None:
    assert check_link(parse_link("http://page.test/a").url).host == "page.test"


# ── private hosts ─────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("entry", "link", "is_private"),
    [
        ("wiki.test", "http://wiki.test/", True),
        ("wiki.test", "https://WIKI.test./", True),
        ("wiki.test", "http://wiki.test:8080/", True),
        ("wiki.test", "http://wiki.test:8090/", False),
        ("wiki.test", "http://www.wiki.test/", False),
        ("wiki.test", "http://test/", False),
        ("wiki.test:8090", "http://wiki.test:8090/", True),
        ("wiki.test:8090", "http://wiki.test/", False),
        ("wiki", "http://wiki/", True),
        ("Wiki", "http://wiki./", True),
        ("wiki", "http://wiki:22/", False),
        ("bücher.test", "http://xn--bcher-kva.test/", True),
        ("10.1.2.3", "http://10.1.2.3/", True),
        ("10.1.2.3", "http://10.1.2.4/", False),
        ("10.1.2", "http://10.1.2.3/", False),
        ("10.1.2.3:81", "http://10.1.2.3:81/", True),
        ("10.1.2.3:81", "http://10.1.2.3/", False),
        ("fd00::1", "http://[fd00:0::1]/", True),
        ("[fd00::1]:81", "http://[fd00::1]:81/", True),
        ("[fd00::1]:81", "http://[fd00::1]/", False),
        ("fd00::1:81", "http://[fd00::1]:81/", False),
    ],
)
def test_a_private_host_is_exactly_the_one_that_is_listed(
    entry: str, link: str, is_private: bool
) -> None:
    try:
        target = parse_link(link, PrivateHosts([entry]))
    except AttachmentError:  # an unlisted name without a dot
        assert not is_private
    else:
        assert target.is_private is is_private
        assert HostRules(allowed=["page.test"]).permit(target) is is_private
        assert not HostRules(denied=[target.host]).permit(target)


async def test_a_private_host_is_read_and_its_neighbours_are_not() -> None:
    async with serve(reply(b"the wiki")) as site, serve(reply(b"secret")) as other:
        strict = make_reader(
            is_allowed_address=is_public,
            ports=WEB_PORTS,
            private_hosts=[f"wiki:{site.port}", f"127.0.0.1:{site.port}"],
        )
        for host in ("wiki", "127.0.0.1"):
            assert (await strict.download(site.url(host=host), limit=LIMIT)).data == b"the wiki"
        for link in (
            other.url(host="wiki"),
            other.url(host="127.0.0.1"),
            site.url(host="page.test"),
            site.url(host="127.0.0.2"),
            site.url(host="localhost"),
            site.url(host="a.wiki"),
        ):
            with pytest.raises(AttachmentError) as caught:
                await strict.download(link, limit=LIMIT)
            assert caught.value.omission is Omission.FORBIDDEN_ADDRESS, link
        assert other.connections == 0
        assert site.connections == 2


@pytest.mark.parametrize(
    ("start", "end", "is_read"),
    [("wiki", "docs", True), ("wiki", "other", False), ("page.test", "wiki", False)],
)
async def test_only_a_private_host_redirects_to_a_private_host(
    start: str, end: str, is_read: bool
) -> None:
    """`page.test` is public here; its owner must not choose requests inside the network."""
    answers: dict[str, bytes] = {"/end": reply(b"the page")}
    async with serve(pages(answers)) as site:
        answers["/"] = redirect(site.url("/end", end))
        names = Names({"page.test": [["127.0.0.1"]], "wiki": [["127.0.0.2"]]})
        private = [f"wiki:{site.port}", f"docs:{site.port}"]
        reader = make_reader(
            resolve=Names({}) if start == "wiki" else names,
            is_allowed_address=lambda address: start != "wiki" and address == PUBLIC,
            private_hosts=private,
        )
        try:
            found = (await reader.download(site.url("/", start), limit=LIMIT)).data
        except AttachmentError as error:
            assert error.omission is Omission.FORBIDDEN_ADDRESS
            found = b""
        assert (found == b"the page") is is_read
        assert len(site.heads) == (2 if is_read else 1)
