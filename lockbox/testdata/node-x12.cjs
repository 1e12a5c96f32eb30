// Reads 823 files with npm's node-x12 and prints what it found, one JSON line
// for each, to be compared with what our reader finds:
//
//   npm install node-x12@1.7.1
//   node node-x12.cjs 823*.edi > 823.golden
const { X12Parser } = require('node-x12');
const fs = require('fs');
const cents = (text) => Math.round(Number(text) * 100);
for (const file of process.argv.slice(2)) {
  const text = fs.readFileSync(file, 'utf8');
  const deposits = [];
  let sets = 0, deposit, batch, check;
  for (const group of new X12Parser(true).parse(text).functionalGroups) {
    for (const transaction of group.transactions) {
      sets++;
      for (const segment of transaction.segments) {
        const e = (n) => (segment.elements[n - 1] ? segment.elements[n - 1].value : '');
        switch (segment.tag) {
          case 'DEP':
            deposit = { lockbox: e(1), date: e(2), total: 0, batches: [] };
            deposits.push(deposit);
            batch = check = undefined;
            break;
          case 'AMT':
            if (!batch) deposit.total = cents(e(2));
            else if (!check) batch.total = cents(e(2));
            break;
          case 'BAT':
            batch = { number: e(3), checks: [] };
            deposit.batches.push(batch);
            check = undefined;
            break;
          case 'BPR':
            if (!batch) deposit.batches.push((batch = { number: '', checks: [] }));
            check = { cents: cents(e(2)), routing: e(7), account: e(9), coupons: [] };
            batch.checks.push(check);
            break;
          case 'RMR':
            check.coupons.push({ reference: e(2), cents: cents(e(4)) });
            break;
        }
      }
    }
  }
  console.log(JSON.stringify({ file: file.split('/').pop(), sets, deposits }));
}
