//! How pages look: one column, light and dark, readable on a phone; tables and plots scroll by
//! themselves where they are wider than the screen.

/// The style sheet of every page. Colours of plots are set as attributes by the plots; in the dark
/// only their ink, paper and grid change.
pub const STYLE: &str = "
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--soft:#5b6570;--line:#d7dce1;--panel:#f5f7f9;--mark:#0072b2}
@media(prefers-color-scheme:dark){:root{--paper:#14171a;--ink:#e6e9ec;--soft:#a0a9b2;--line:#363d44;--panel:#1d2226;--mark:#56b4e9}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1180px;margin:0 auto;padding:1.2rem}
h1{font-size:1.7rem;line-height:1.2;margin:.4rem 0}
h2{font-size:1.25rem;margin:2.2rem 0 .6rem}
h3{font-size:1rem;margin:1.4rem 0 .4rem}
a{color:var(--mark)}
p.lead,.notes,figcaption,small{color:var(--soft)}
.wide{overflow-x:auto;border:1px solid var(--line);border-radius:8px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.92rem}
th,td{padding:.4rem .7rem;text-align:left;white-space:nowrap;border-bottom:1px solid var(--line)}
tbody tr:last-child>*{border-bottom:0}
thead th{background:var(--panel);font-weight:600}
tbody th{font-weight:500;position:sticky;left:0;background:var(--paper)}
.n{text-align:right}
.notes{font-size:.88rem;padding-left:1.1rem;overflow-wrap:anywhere}
figure{margin:1rem 0}
figure svg,figure img{max-width:100%;height:auto;display:block}
figure.plot{overflow-x:auto}
figure.plot svg{min-width:640px}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(260px,1fr));gap:1rem}
.grid figure{margin:0}
.bar{display:grid;grid-template-columns:minmax(6rem,12rem) 1fr 4rem;gap:.6rem;align-items:center;font-size:.88rem}
.bar i{display:block;height:.8rem;border-radius:2px;background:var(--mark)}
.bar b{font-weight:400;text-align:right;font-variant-numeric:tabular-nums}
nav{display:flex;flex-wrap:wrap;gap:.3rem 1rem;font-size:.92rem}
details{margin:.5rem 0;border:1px solid var(--line);border-radius:8px;padding:.4rem .8rem}
summary{cursor:pointer}
pre{overflow-x:auto;font-size:.8rem}
@media(prefers-color-scheme:dark){
svg [fill='#FFFFFF']{fill:var(--paper)}
svg [fill='#000000'],svg text{fill:var(--ink)}
svg [stroke='#000000']{stroke:var(--ink)}
}
";
