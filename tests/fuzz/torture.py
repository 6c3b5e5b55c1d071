# SPDX-License-Identifier: GPL-3.0-or-later
"""The torture tests of RFC 4475, written anew: each has the property that the RFC gives to the test of its name, on a message that
our line would otherwise take, so that it is this property that decides the answer.

`TESTS` maps a name to (section of the RFC, octets, the answers that are right). An answer is a status code, or None for none.
"""

CARRIER, LINE, CALLER = "127.59.0.1", "0388881001", "0388882001"
OURS = f"sip:{LINE}@carrier.example"
THEIRS = f"sip:{CALLER}@carrier.example"
FINGERPRINT = ":".join(f"{octet:02X}" for octet in range(32))
SDP = "\r\n".join(["v=0", f"o=- 1 1 IN IP4 {CARRIER}", "s=-", f"c=IN IP4 {CARRIER}", "t=0 0", "m=application 50009 udp ike-esp-udpencap",
                   f"c=IN IP4 {CARRIER}", "b=AS:512", "a=ike-setup:active", f"a=psk-fingerprint:SHA-256 {FINGERPRINT}", ""])
TESTS = {}


def headers(name, method):
    return {"Via": f"SIP/2.0/UDP {CARRIER}:5060;branch=z9hG4bK{name}", "Max-Forwards": "70", "From": f"<{THEIRS}>;tag={name}",
            "To": f"<{OURS}>", "Call-ID": f"{name}@{CARRIER}", "CSeq": f"1 {method}", "Contact": f"<sip:{CALLER}@{CARRIER}:5060>",
            "P-Asserted-Identity": f"<{THEIRS}>"}


def compose(name, method="INVITE", uri=OURS, start=None, body=None, kind="application/sdp", replace=None, extra=(), length=None):
    """Octets of a message. `replace` changes headers by name (None leaves one out), `extra` are whole lines."""
    values = headers(name, method)
    values.update(replace or {})
    body = SDP if body is None and method == "INVITE" else body or ""
    body = body.encode() if isinstance(body, str) else body
    lines = [start if start is not None else f"{method} {uri} SIP/2.0"]
    lines += [f"{key}: {value}" for key, value in values.items() if value is not None]
    lines += [f"Content-Type: {kind}"] if body else []
    lines += [*extra]
    lines += [f"Content-Length: {len(body)}" if length is None else length] if length != "" else []
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def add(name, section, right, **options):
    TESTS[name] = (section, compose(name, **options), set(right))


def response(name, section, start, **options):
    """Nobody asked: never answered."""
    replace = {"Max-Forwards": None, "P-Asserted-Identity": None, "To": f"<{OURS}>;tag=other", **options.pop("replace", {})}
    add(name, section, [None], start=start, method=options.pop("method", "INVITE"), replace=replace, **options)


# 3.1.1 Valid messages
TESTS["wsinv"] = ("3.1.1.1", (
    f"INVITE {OURS};unknownparam SIP/2.0\r\n"
    f"TO :\r\n {OURS} ;   unknown    = 1918181833n\r\n"
    f"from   : \"J Rosenberg \\\\\\\"\"       <{THEIRS}>\r\n  ;\r\n  tag = 98asjd8\r\n"
    f"MaX-fOrWaRdS: 0068\r\nCall-ID: wsinv.ndaksdj@{CARRIER}\r\nContent-Length   : {len(SDP)}\r\ncseq: 0009\r\n  INVITE\r\n"
    f"Via  : SIP  /   2.0\r\n /UDP\r\n    {CARRIER}:5060;branch=z9hG4bK390skdjuw\r\n"
    f"s :\r\nNewFangledHeader:   newfangled value\r\n continued newfangled value\r\nUnknownHeaderWithUnusualValue: ;;,,;;,;\r\n"
    f"Content-Type: application/sdp\r\nP-Asserted-Identity :\r\n <{THEIRS}>\r\n"
    f"v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n"
    f" SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239\r\n"
    f"m:\"Quoted string \\\"\\\"\" <sip:{CALLER}@{CARRIER}:5060> ; newparam =\r\n      newvalue ;\r\n  secondparam ; q = 0.33\r\n\r\n{SDP}"
).encode(), {200})
TORTURED = "!interesting-Method0123456789_*+`.%indeed'~"
# A NUL is nothing that a carrier sends: no answer is right too.
add("intmeth", "3.1.1.2", [405, 501, None], method=TORTURED, uri=f"sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@{CARRIER}",
    replace={"To": f"\"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f\" <{OURS}>", "From": f"token1~` token2'+_ token3*%!.- <{THEIRS}>;fromParam''~+*_!.-%=\"\xd1\x80\";tag=_token~1'+`*%!-.",
             "Call-ID": "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{", "Max-Forwards": "255"}, extra=["extensionHeader-!.%*+_`'~:\xef\xbb\xbf\xe5\xa4\xa7"])
add("esc01", "3.1.1.3", [200], uri=f"sip:{LINE[:3]}%3{LINE[3]}{LINE[4:]}@carrier.example",
    replace={"To": f"sip:%30{LINE[1:]}@carrier.example", "Contact": f"\r\n  <sip:cal%6Cer@{CARRIER}:5060;%6C%72;n%61me=v%61lue%25%34%31>"})
add("escnull", "3.1.1.4", [400, 403, 405, 501], method="REGISTER", uri="sip:carrier.example",
    replace={"To": "sip:null-%00-null@carrier.example", "From": "sip:null-%00-null@carrier.example;tag=839923423", "Contact": f"<sip:%00@{CARRIER}>"},
    extra=[f"Contact: <sip:%00%00@{CARRIER}>"])
add("esc02", "3.1.1.5", [405, 501], method="RE%47IST%45R", uri="sip:carrier.example", replace={"To": f"\"%Z%45\" <{OURS}>"},
    extra=["C%6Fntact: <sip:alias2@host2.example.com>"])
add("lwsdisp", "3.1.1.6", [200], method="OPTIONS", replace={"From": f"caller<{THEIRS}>;tag=323"})
LONG = "a" * 200
add("longreq", "3.1.1.7", [200], replace={
    "To": f"\"I have a user name of {'extreme ' * 12}proportion\" <{OURS};unknownparam1=very{LONG};longparam{LONG}=shortvalue>",
    "From": f"sip:{CALLER}@carrier.example;tag=12982982982982982982982982982982982{'9' * 80};unknownheaderparamname{LONG}=x;valueless{LONG}",
    "Call-ID": f"longreq.one{LONG}cannotbetoolong"}, extra=["Unknown-" + "Long" * 30 + f"-Name: unknown-{LONG}-value; unknown-{LONG}-parameter-name = {LONG}"])
TESTS["dblreq"] = ("3.1.1.8", compose("dblreq-first", method="OPTIONS") + b"\r\n\r\n" + compose("dblreq-second"), {200})
add("semiuri", "3.1.1.9", [200, 404], method="OPTIONS", uri=f"sip:{LINE};par=u%40example.net@carrier.example")
add("transports", "3.1.1.10", [200], method="OPTIONS", extra=["Via: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKklasjdhf", "Via: SIP/2.0/TLS t3.example.com;branch=z9hG4bK2980unddj",
                                                               "Via: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKasd0f3en"])
BOUNDARY = b"--7a9cbec02ceef655"
add("mpart01", "3.1.1.11", [405, 415, 501], method="MESSAGE", kind="multipart/mixed;boundary=7a9cbec02ceef655",
    body=BOUNDARY + b"\r\nContent-Type: text/plain\r\n\r\nHello\r\n" + BOUNDARY + b"\r\nContent-Type: application/octet-stream\r\n\r\n" + bytes(range(256)) + b"\r\n"
    + BOUNDARY + b"--\r\n")
response("unreason", "3.1.1.12", "SIP/2.0 200 = 2**3 * 5**2 \xd0\xbd\xd0\xbe")
response("noreason", "3.1.1.13", "SIP/2.0 100 ")

# 3.1.2 Invalid messages
add("badinv01", "3.1.2.1", [400, None], replace={"Via": f"SIP/2.0/UDP {CARRIER}:5060;;,;,,", "Contact": f"\"Joe\" <sip:{CALLER}@{CARRIER}>;;;;"})
add("clerr", "3.1.2.2", [400, None], length="Content-Length: 9999")
add("ncl", "3.1.2.3", [400, None], length="Content-Length: -999")
add("scalar02", "3.1.2.4", [400, 405, 501, None], method="REGISTER", uri="sip:carrier.example", replace={"CSeq": "36893488147419103232 REGISTER", "Max-Forwards": "300"},
    extra=["Expires: 1" + "0" * 100])
response("scalarlg", "3.1.2.5", "SIP/2.0 503 Service Unavailable", method="OPTIONS", replace={"CSeq": "9292394834772304023312 OPTIONS"},
         extra=["Retry-After: 949302838503028349304023988", "Warning: 1812 overture \"In Progress\""])
add("quotbal", "3.1.2.6", [400], replace={"To": f"\"Mr. J. User <{OURS}>"})
add("ltgtruri", "3.1.2.7", [400, None], uri=f"<{OURS}>")
add("lwsruri", "3.1.2.8", [400, None], uri=f"{OURS}; lr")
add("lwsstart", "3.1.2.9", [400, 200, None], start=f"INVITE  {OURS}  SIP/2.0")
add("trws", "3.1.2.10", [400, 200, None], method="OPTIONS", start=f"OPTIONS {OURS} SIP/2.0  ")
add("escruri", "3.1.2.11", [400, 200], uri=f"{OURS}?Route=%3Csip:example.com%3E")
add("baddate", "3.1.2.12", [400, 200], extra=["Date: Fri, 01 Jan 2010 16:00:00 EST"])
add("regbadct", "3.1.2.13", [400, 405, 501], method="REGISTER", uri="sip:carrier.example", replace={"Contact": f"{THEIRS}?Route=%3Csip:sip.example.com%3E"})
add("badaspec", "3.1.2.14", [400, 200], method="OPTIONS", replace={"To": f"\"Watson, Thomas\" < {OURS} >"})
add("baddn", "3.1.2.15", [400, 200], method="OPTIONS", replace={"To": f"Watson, Thomas <{OURS}>"})
add("badvers", "3.1.2.16", [505, 400, None], method="OPTIONS", start=f"OPTIONS {OURS} SIP/7.0", replace={"Via": f"SIP/7.0/UDP {CARRIER}:5060;branch=z9hG4bKbadvers"})
add("mismatch01", "3.1.2.17", [400, None], method="OPTIONS", replace={"CSeq": "8 INVITE"})
add("mismatch02", "3.1.2.18", [400, 405, 501, None], method="NEWMETHOD", replace={"CSeq": "8 INVITE"})
response("bigcode", "3.1.2.19", "SIP/2.0 4294967301 better not break the receiver")

# 3.2 Transaction layer
add("badbranch", "3.2.1", [200, 400], method="OPTIONS", replace={"Via": f"SIP/2.0/UDP {CARRIER}:5060;branch=z9hG4bK"})

# 3.3 Application layer
add("insuf", "3.3.1", [400, None], replace={"To": None, "From": None, "Call-ID": None, "Contact": None, "Max-Forwards": None})
add("unkscm", "3.3.2", [416], method="OPTIONS", uri="nobodyKnowsThisScheme:totallyopaquecontent")
add("novelsc", "3.3.3", [416], method="OPTIONS", uri=f"soap.beep://{CARRIER}:3002")
add("unksm2", "3.3.4", [400, 405, 501], method="REGISTER", uri="sip:carrier.example", replace={"To": "isbn:2983792873", "From": "<http://www.example.com>;tag=3234233", "Contact": "<name:John_Smith>"})
add("bext01", "3.3.5", [420], extra=["Require: nothingSupportsThis, nothingSupportsThisEither", "Proxy-Require: noProxiesSupportThis"])
add("invut", "3.3.6", [415], body="<audio>\r\n <pcmu port=\"443\"/>\r\n</audio>\r\n", kind="application/unknownformat")
add("regaut01", "3.3.7", [401, 405, 501], method="REGISTER", uri="sip:carrier.example", extra=["Authorization: NoOneKnowsThisScheme opaque-data=here"])
add("multi01", "3.3.8", [400, None], extra=["CSeq: 59 INVITE", "Call-ID: multi01.98asdh@192.0.2.2", "To: sip:other@example.net", f"From: {THEIRS};tag=2923420123", "Max-Forwards: 5"])
add("mcl01", "3.3.9", [400, None], method="OPTIONS", body="There is no way to know how many octets are meant.\r\n", kind="text/plain", length="Content-Length: 13\r\nContent-Length: 5")
response("bcast", "3.3.10", "SIP/2.0 200 OK", extra=["Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23"])
add("zeromf", "3.3.11", [200, 483], method="OPTIONS", replace={"Max-Forwards": "0"})
add("cparam01", "3.3.12", [405, 501, 403], method="REGISTER", uri="sip:carrier.example", replace={"Contact": f"sip:+19725552222@{CARRIER};unknownparam"})
add("cparam02", "3.3.13", [405, 501, 403], method="REGISTER", uri="sip:carrier.example", replace={"Contact": f"<sip:+19725552222@{CARRIER};unknownparam>"})
add("regescrt", "3.3.14", [405, 501, 403], method="REGISTER", uri="sip:carrier.example", replace={"Contact": f"<{THEIRS}?Route=%3Csip:sip.example.com%3E>"})
add("sdp01", "3.3.15", [406, 488, 415, 200], extra=["Accept: text/nobodyKnowsThis"])

# 3.4 Of RFC 2543: no branch, no tag
add("inv2543", "3.4.1", [200, 400], replace={"Via": f"SIP/2.0/UDP {CARRIER}:5060", "From": f"<{THEIRS};user=phone>", "Max-Forwards": None},
    extra=[f"Record-Route: <sip:{CARRIER};lr>"], length="")
