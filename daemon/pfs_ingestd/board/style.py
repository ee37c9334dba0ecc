"""How the page of the night board looks."""

from pfs_ingestd.board.markup import Html

__all__ = ["STYLE"]

# The rules for single cells come after those for whole rows, which they override.
STYLE = Html("""
:root{color-scheme:light dark;--ground:#fff;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--accent:#0550ae;
--i:#dff3e4;--i-ink:#0b5526;--c:#ffe2b8;--c-ink:#6b3d00;--p:#d8e9ff;--p-ink:#0a3d83;--w:#ece0ff;--w-ink:#4b1fa0;
--e:#fff;--e-ink:#57606a;--m:#fff;--m-ink:#a40e26;--r:#b3142b;--r-ink:#fff;--o:#e7eaee;--o-ink:#3f474f;
--g:#ffd8b5;--g-ink:#7a2e00}
@media(prefers-color-scheme:dark){:root{--ground:#0d1117;--ink:#e6edf3;--soft:#9aa4af;--line:#363d46;--accent:#79b8ff;
--i:#0f3a20;--i-ink:#8ce6a8;--c:#4f3500;--c-ink:#ffd48a;--p:#0d3058;--p-ink:#a5d0ff;--w:#33205c;--w-ink:#d6c2ff;
--e:#0d1117;--e-ink:#9aa4af;--m:#0d1117;--m-ink:#ff9a9f;--r:#c9283c;--r-ink:#fff;--o:#262d35;--o-ink:#c3ccd6;
--g:#532800;--g-ink:#ffc393}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:62rem;padding:0 .5rem 2rem;background:var(--ground);color:var(--ink);
font:1rem/1.4 system-ui,sans-serif}
h1{font-size:1.4rem;margin:.8rem 0 .4rem}h2{font-size:1.1rem;margin:1.4rem 0 .4rem}
p{margin:.3rem 0}small,figcaption,caption{color:var(--soft);font-size:.85rem}caption{text-align:left}
.sum{border-left:.5rem solid var(--line);padding:.5rem .8rem;font-size:1.1rem}
.yes{border-color:#2da44e}.no{border-color:#cf222e}.way{border-color:#3182e0}
.plots{display:flex;flex-wrap:wrap;gap:.8rem}figure{flex:1 1 16rem;margin:0}
svg{display:block;width:100%;height:4rem;border-bottom:1px solid var(--line)}
path{stroke:var(--accent);stroke-width:.8;fill:none}
.key{display:flex;flex-wrap:wrap;gap:.2rem .9rem;list-style:none;margin:.4rem 0;padding:0;font-size:.85rem}
.key b,.list b{display:inline-block;min-width:1.4rem;text-align:center}
.list{margin:0;padding:0;list-style:none}.list li{padding:.35rem 0;border-bottom:1px solid var(--line);
overflow-wrap:anywhere}
code{font-size:.85rem}
table{border-collapse:separate;border-spacing:1px;font-size:.85rem}
th{font-weight:600;padding:0 .25rem;text-align:left}
thead th{position:sticky;top:0;background:var(--ground);text-align:center}
td{text-align:center;width:1.9rem;padding:.1rem 0;background:var(--i);color:var(--i-ink)}
td.v{background:none;color:var(--soft);width:auto;padding:0 .3rem;text-align:left;white-space:nowrap}
abbr{text-decoration:none}
.P td,b.P{background:var(--p);color:var(--p-ink)}.W td,b.W{background:var(--w);color:var(--w-ink)}
.E td,b.E{background:var(--e);color:var(--e-ink)}.R td,b.R{background:var(--r);color:var(--r-ink)}
.O td,.S td,b.O,b.S{background:var(--o);color:var(--o-ink)}.M td,b.M{background:var(--m);color:var(--m-ink)}
.C td,b.C{background:var(--c);color:var(--c-ink)}.G td,b.G{background:var(--g);color:var(--g-ink)}
.I td,td.I,b.I{background:var(--i);color:var(--i-ink)}
td.P{background:var(--p);color:var(--p-ink)}td.W{background:var(--w);color:var(--w-ink)}
td.E{background:var(--e);color:var(--e-ink)}td.R{background:var(--r);color:var(--r-ink);font-weight:700}
td.O,td.S{background:var(--o);color:var(--o-ink)}td.C{background:var(--c);color:var(--c-ink);font-weight:700}
td.G{background:var(--g);color:var(--g-ink);font-weight:700}
td.M,.M td{background:var(--m);color:var(--m-ink);font-weight:700}
td.M,.M td,b.M{outline:2px solid var(--m-ink);outline-offset:-2px}
tr td.n,tr td.v{background:none;outline:0}tr td.v{color:var(--soft);font-weight:400}
@media(max-width:40rem){td.v{display:none}thead .v{display:none}td{width:1.55rem}table{font-size:.75rem}
th{padding:0 .1rem}h1{font-size:1.2rem}.sum{font-size:1rem}}
""")
