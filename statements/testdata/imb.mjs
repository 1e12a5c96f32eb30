// Makes imb.txt.gz, the list that TestIMbAgreesWithAnother reads: 5,200 random
// codes with the barcodes that bwip-js makes of them. The suite needs only the
// list, not this. To make it again, in a folder outside the repository:
//
//   npm install bwip-js@4.11.4 && node PATH/TO/imb.mjs > PATH/TO/imb.txt.gz
import {createRequire} from 'node:module';
import {gzipSync} from 'node:zlib';
const bwip = createRequire(process.cwd() + '/')('bwip-js');

let state = 20260401; // a small generator, so that the list is always the same
function below(n) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor(state / 2 ** 32 * n);
}
const digits = (n) => Array.from({length: n}, () => below(10)).join('');

const lines = [];
for (let i = 0; i < 5200; i++) {
  const tracking = `${below(10)}${below(5)}${digits(18)}`;
  const routing = digits([0, 5, 9, 11][i % 4]);
  const [{bbs, bhs}] = bwip.raw('onecode', tracking + routing, '');
  const full = Math.max(...bhs), low = Math.max(...bbs);
  const bars = bhs.map((h, j) => h === full ? 'F' : bbs[j] === 0 ? 'D' : h < full / 2 ? 'T' : 'A').join('');
  if (bars.length !== 65 || low === 0) throw new Error(`${tracking} ${routing}: ${bars}`);
  lines.push(`${tracking} ${routing} ${bars}`.replace('  ', ' '));
}
process.stdout.write(gzipSync(lines.join('\n') + '\n', {level: 9}));
