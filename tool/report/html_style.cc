#include "report/html_parts.h"

namespace ssmend {

// Colours keep a contrast of at least 4.5:1 on their ground in both schemes (WCAG 2.1, 1.4.3);
// nothing is told by colour alone.
const char* html_style() {
  return R"css(
:root{color-scheme:light dark;--ground:#fbfbfa;--card:#fff;--ink:#1c2024;--soft:#5a6470;
--line:#d9dde1;--code:#f1f3f5;--error:#b3261e;--warning:#855300;--note:#0b5fa5;--good:#1a6e35;
--bar:#7f9fc4;--bar-bad:#c9584f}
@media (prefers-color-scheme:dark){:root{--ground:#14171a;--card:#1c2126;--ink:#e6e9ec;
--soft:#a1abb5;--line:#343b42;--code:#252b31;--error:#ff8a80;--warning:#f2b866;--note:#82b9f2;
--good:#7fd39a;--bar:#5d86b5;--bar-bad:#d0695f}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif;
overflow-wrap:anywhere}
main{max-width:60rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.2rem;margin:2rem 0 .6rem}
h3{font-size:1rem;margin:0;font-weight:600;line-height:1.4}h4{font-size:.9rem;margin:1rem 0 .3rem}
p{margin:.4rem 0}a{color:var(--note)}
code,pre,.path{font-family:ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;font-size:.86em}
code{background:var(--code);padding:.05em .3em;border-radius:4px}
.soft,.path{color:var(--soft)}
.counts{display:flex;flex-wrap:wrap;gap:.5rem;list-style:none;padding:0;margin:.6rem 0}
.counts li{border:1px solid var(--line);border-left:4px solid var(--soft);border-radius:6px;
background:var(--card);padding:.25rem .7rem;font-weight:600}
.error{border-left-color:var(--error)!important}.warning{border-left-color:var(--warning)!important}
.note{border-left-color:var(--note)!important}.good{border-left-color:var(--good)!important}
dl.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(10.5rem,1fr));gap:1px;margin:0;
background:var(--card);border:1px solid var(--line);border-radius:8px;overflow:hidden}
dl.facts div{box-shadow:0 0 0 1px var(--line);padding:.45rem .7rem}
dl.facts dt{font-size:.78rem;color:var(--soft)}dl.facts dd{margin:0;font-weight:500}
article{background:var(--card);border:1px solid var(--line);border-left:4px solid;border-radius:8px;
padding:.7rem .9rem;margin:.7rem 0;content-visibility:auto;contain-intrinsic-size:auto 9rem}
.tag{display:inline-block;font-size:.78rem;font-weight:700;margin-bottom:.15rem}
.error .tag,.bad{color:var(--error)}.warning .tag{color:var(--warning)}.note .tag{color:var(--note)}
.ok{color:var(--good)}
details{margin:.5rem 0 0}summary{cursor:pointer;color:var(--soft);font-size:.9rem;padding:.3rem 0}
ol.evidence{list-style:none;margin:.2rem 0;padding:0;font-size:.9rem}
ol.evidence li{display:grid;grid-template-columns:5.5rem 1fr;gap:.6rem;padding:.2rem 0;
border-top:1px solid var(--line)}
ol.evidence .label{color:var(--soft)}
.help{border-left:3px solid var(--good);padding-left:.6rem;margin:.4rem 0}
.scroll{overflow-x:auto;max-width:100%;border:1px solid var(--line);border-radius:6px;
background:var(--ground);margin:.3rem 0}
table{border-collapse:collapse;width:100%;font-size:.88rem}
table.checks td:nth-child(1){white-space:nowrap}table.checks td:nth-child(2){min-width:11em}
th,td{text-align:left;vertical-align:top;padding:.35rem .6rem;border-top:1px solid var(--line)}
th{font-size:.78rem;color:var(--soft);font-weight:600;border-top:0;white-space:nowrap}
td.number{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.calls{display:grid;grid-template-columns:1fr 1fr;gap:.8rem}
.calls>div{background:var(--ground);border:1px solid var(--line);border-radius:6px;
padding:.5rem .7rem;min-width:0}
.calls ol{margin:.2rem 0;padding-left:1.7rem;font-size:.88rem}
.calls ul{margin:.2rem 0;padding:0;list-style:none;font-size:.88rem}
.calls li{margin:.25rem 0}
svg text{font:13px ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;fill:var(--ink)}
svg .box{fill:var(--card);stroke:var(--line)}svg .edge{stroke:var(--soft);fill:none}
svg .box.fails{stroke:var(--error);stroke-width:2}
svg .edge.fails{stroke:var(--error);stroke-width:2;stroke-dasharray:5 3}
svg text.fails{fill:var(--error);font-weight:700}svg text.quiet{fill:var(--soft);font-size:12px}
svg .track{fill:var(--code)}svg .bar{fill:var(--bar)}svg .bar.fails{fill:var(--bar-bad)}
svg .limit{stroke:var(--ink);stroke-width:1.5}
footer{margin:2.5rem 0 1rem;color:var(--soft);font-size:.85rem}
@media (max-width:40rem){.calls{grid-template-columns:1fr}
table.checks,table.checks tbody{display:block}table.checks thead{display:none}
table.checks tr{display:grid;grid-template-columns:1fr auto;gap:.15rem .7rem;padding:.45rem .6rem}
table.checks tr+tr{border-top:1px solid var(--line)}
table.checks td{padding:0;border:0}table.checks td:empty{display:none}
table.checks td:nth-child(1){order:2;text-align:right}table.checks td:nth-child(2){order:1;min-width:0}
table.checks td:nth-child(3){order:4}table.checks td:nth-child(4){order:3}
table.checks td:nth-child(5){order:5;grid-column:1/-1;display:flex;justify-content:space-between;
flex-direction:row-reverse}
ol.evidence li{grid-template-columns:1fr;gap:0}main{padding:.7rem}}
@media print{article{break-inside:avoid;content-visibility:visible}}
)css";
}

}  // namespace ssmend
