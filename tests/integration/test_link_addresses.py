"""Which addresses and spellings the reader of links connects to: of these, none.

The reader has its strict defaults, except for ports, and a name server that reads numbers as the C
library does. Servers wait on both loopback addresses. Each case must be refused, with the reason
for people, before anything connects.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from bot.content.web_addresses import HostRules, IPAddress, check_link, is_public, parse_link
from bot.domain.attachments import Omission
from bot.domain.errors import AttachmentError
from tests.support.web_sites import LIMIT, make_reader, reply, serve

PRIVATE_4 = """
0.0.0.0 0.0.0.1 0.1.2.3 0.255.255.255 10.0.0.0 10.0.0.1 10.255.255.255 100.64.0.0 100.64.0.1
100.100.100.200 100.127.255.255 127.0.0.0 127.0.0.1 127.0.0.2 127.1.2.3 127.255.255.254
127.255.255.255 168.63.129.16 169.254.0.1 169.254.169.123 169.254.169.253 169.254.169.254
169.254.170.2 169.254.255.255 172.16.0.0 172.16.0.1 172.17.0.1 172.31.255.255 192.0.0.0 192.0.0.1
192.0.0.8 192.0.0.9 192.0.0.10 192.0.0.170 192.0.0.171 192.0.0.192 192.0.0.255 192.0.2.1
192.31.196.1 192.52.193.1 192.88.99.1 192.88.99.2 192.168.0.0 192.168.0.1 192.168.1.1
192.168.255.255 192.175.48.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.0
224.0.0.1 224.0.0.251 232.1.1.1 233.252.0.1 239.255.255.250 239.255.255.255 240.0.0.0 240.0.0.1
250.1.2.3 255.0.0.1 255.255.255.254 255.255.255.255
""".split()

PRIVATE_6 = """
:: ::1 ::2 ::ffff ::7f00:1 ::127.0.0.1 ::10.0.0.1 ::8.8.8.8 ::ffff:0:0 ::ffff:127.0.0.1
::ffff:7f00:1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:8.8.8.8 ::ffff:0:127.0.0.1
::ffff:0:8.8.8.8 64:ff9b::127.0.0.1 64:ff9b::7f00:1 64:ff9b::10.0.0.1 64:ff9b::169.254.169.254
64:ff9b::8.8.8.8 64:ff9b:1::127.0.0.1 64:ff9b:1::1 64:ff9b:1:fffe::10.0.0.1 64:ff9b:2::1 100::1
100:0:0:1::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:0:7f00:1::1 2001:1::1 2001:1::2
2001:1::3 2001:2::1 2001:3::1 2001:4:112::1 2001:10::1 2001:20::1 2001:2f::1 2001:30::1
2001:1ff:ffff::1 2001:db8::1 2001:db8:ffff::1 2002::1 2002:7f00:1::1 2002:a00:1::1
2002:a9fe:a9fe::1 2002:c0a8:101::1 2002:808:808::1 2620:4f:8000::1 3fff::1 3fff:fff::1 4000::1
5f00::1 5fff::1 8000::1 a000::1 fc00::1 fc00:1:2::3 fd00::1 fd00:ec2::254 fd12:3456:789a::1
fdff:ffff::1 fe00::1 fe80::1 fe80::a9fe:a9fe fe80::ffff:ffff:ffff:ffff febf::1 fec0::1
fec0:0:0:ffff::1 feff::1 ff00::1 ff01::1 ff02::1 ff02::fb ff02::1:2 ff05::2 ff05::1:3 ff0e::1
ff0e::fb ff3e::1 ffff::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2a00:1450::5efe:7f00:1
2a00:1450::200:5efe:a00:1 2606:4700::5efe:169.254.169.254
""".split()

SPELLINGS = """
127.1 127.0.1 127 0 1 2130706433 2130706434 017700000001 0x7f000001 0X7F000001 0x7f.1 0x7f.0.0.1
0177.0.0.1 0177.1 00000177.0.0.1 127.0.0.01 127.000.000.001 0x7f.0x0.0x0.0x1 0177.0.0x0.1
127.0.0.1. 127.0.0.1.. 127.0.0.256 127.0.0.1.1 4294967295 4294967296 3232235777 0xa9fea9fe
2852039166 0xA9.0xFE.0xA9.0xFE 0251.0376.0251.0376 169.254.43518 10.1 0xa.1 012.1 134744072
0x08080808 8.8.2056 08.8.8.8 localhost LOCALHOST localhost. ip6-localhost localhost.localdomain
127.0.0.1.nip.test inside.test metadata.google.internal router.local printer wiki intranet. a
127。0。0。1 127．0．0．1 127｡0｡0｡1 １２７.0.0.1 ①②⑦.⓪.⓪.① ⑯⑨。②⑤④。⑯⑨。②⑤④ ₁₂₇.0.0.1 ¹²⁷.0.0.1 𝟏𝟐𝟕.𝟎.𝟎.𝟏 ｌｏｃａｌｈｏｓｔ ⓛⓞⓒⓐⓛⓗⓞⓢⓣ
%31%32%37.0.0.1 127%2e0%2e0%2e1 localhost%00 localhost%00.page.test 127.0.0.1%00 127.0.0.1%20
[::1%25lo] [fe80::1%25eth0] [fe80::1%eth0] [2a00:1450::1%25eth0] [::1%lo] [::%31] [::1.] [::1]. [v1.x]
[127.0.0.1] [0x7f.1] [0:0:0:0:0:0:0:1] [0000::0001] [::FFFF:127.0.0.1] [::ffff:127.1] [::1]x
me@127.0.0.1 me:secret@127.0.0.1 page.test@127.0.0.1 127.0.0.1@page.test @127.0.0.1 :@127.0.0.1
page.test:80@127.0.0.1 page.test%40127.0.0.1 page.test\\@127.0.0.1 127.0.0.1\\@page.test
127.0.0.1\\.page.test page.test#@127.0.0.1 127.0.0.1;page.test page.test,127.0.0.1 -127.0.0.1
.127.0.0.1 ..127.0.0.1 page..test .page.test page.test.. _ - . .. ... * *.test a_b {host} $HOST <host>
page.test|127.0.0.1 page.test"x ("127.0.0.1") ''127.0.0.1 xn--a xn-- page.0x7f page.127 page.0
x.0x 1.2.3.4.5 256.256.256.256 1.1 0x1 0b1 1e3 ٣.٣.٣.٣ १२७.0.0.1 ⅠⅡⅦ
""".split()

SCHEMES = """
file:///etc/passwd file://127.0.0.1/etc/passwd ftp://127.0.0.1/ gopher://127.0.0.1/_x
dict://127.0.0.1/x ldap://127.0.0.1/ tftp://127.0.0.1/ sftp://127.0.0.1/ ws://127.0.0.1/
wss://127.0.0.1/ data:text/html,x javascript:alert(1) mailto:me@page.test jar:http://127.0.0.1!/
view-source:http://127.0.0.1/ blob:http://127.0.0.1/x unix:///var/run/docker.sock
http+unix://%2Fvar%2Frun%2Fdocker.sock/ about:blank urn:x //127.0.0.1/ /etc/passwd 127.0.0.1
http: http:/ http:// http:/// http:127.0.0.1 http:/127.0.0.1/ http:///127.0.0.1/ http:\\\\127.0.0.1
http://? http://# http://[ http://[] http://] http://:80 http://127.0.0.1:x http://127.0.0.1:-1
http://127.0.0.1:99999999 http://page.test:65536 http://page.test:0x50 h\u200bttp://127.0.0.1
""".split()


async def resolve(host: str) -> Sequence[IPAddress]:
    """Numbers as the C library reads them; every other name is this machine."""
    try:
        found = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return [IPv4Address("127.0.0.1")]
    return [ip_address(each[4][0]) for each in found]


def links(ports: Sequence[int]) -> list[str]:
    hosts = [*PRIVATE_4, *(f"[{each}]" for each in PRIVATE_6), *SPELLINGS]
    return [f"http://{host}:{port}/" for host in hosts for port in ports] + SCHEMES


async def test_no_address_and_no_spelling_is_let_through() -> None:
    """Tried as a link, and as what a harmless name leads to. Let through: none."""
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


@pytest.mark.parametrize("address", [*PRIVATE_4, *PRIVATE_6])
async def test_a_name_that_leads_to_such_an_address_is_refused(address: str) -> None:
    async def lead(_host: str) -> Sequence[IPAddress]:
        return [IPv4Address("8.8.8.8"), ip_address(address)]

    reader = make_reader(is_allowed_address=is_public, resolve=lead)
    with pytest.raises(AttachmentError) as caught:
        await reader.download("http://page.test:8080/", limit=LIMIT)
    assert caught.value.omission is Omission.FORBIDDEN_ADDRESS
    assert address in str(caught.value) or str(ip_address(address)) in str(caught.value)


@pytest.mark.parametrize("address", PRIVATE_4 + PRIVATE_6)
def test_such_an_address_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    """1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 126.255.255.255 128.0.0.1
    168.63.129.15 169.253.255.255 169.255.0.1 172.15.255.255 172.32.0.1 192.0.1.1 192.167.255.255
    192.169.0.1 198.17.255.255 198.20.0.1 223.255.255.254 2001:200::1 2001:4860:4860::8888
    2003::1 2606:4700:4700::1111 2620:fe::fe 2a00:1450:4001::1 3ffe::1""".split(),
)
def test_addresses_beside_them_are_public(address: str) -> None:
    assert is_public(ip_address(address))


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


@pytest.mark.parametrize("link", ["http://page.test/" + "x" * 9_000, "http://page.test/\r\nX: y"])
def test_a_link_that_is_none_is_refused(link: str) -> None:
    with pytest.raises(AttachmentError):
        parse_link(link)


@pytest.mark.parametrize(
    "port", [1, 22, 25, 53, 81, 110, 143, 3306, 5432, 6379, 9200, 11211, 65535]
)
async def test_only_web_ports_are_read(port: int) -> None:
    from bot.content.web_addresses import WEB_PORTS

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
