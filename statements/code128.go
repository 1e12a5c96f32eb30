package statements

// Code 128 (ISO/IEC 15417) in its set C, two digits a symbol: the coupon's
// scanline for readers of bars. Each symbol is three bars and three spaces of 1
// to 4 modules, 11 in all.

// code128 holds the widths of symbols 0 to 105, six digits each.
const code128 = "212222222122222221121223121322131222122213122312132212221213221312231212112232122132122231113222123122123221223211221132221231" +
	"213212223112312131311222321122321221312212322112322211212123212321232121111323131123131321112313132113132311211313231113231311" +
	"112133112331132131113123113321133121313121211331231131213113213311213131311123311321331121312113312311332111314111221411431111" +
	"111224111422121124121421141122141221112214112412122114122411142112142211241211221114413111241112134111111242121142121241114212" +
	"124112124211411212421112421211212141214121412121111143111341131141114113114311411113411311113141114131311141411131211412211214211232"

const (
	startC     = 105
	barsStop   = "2331112"
	barsModule = 1.08 // points; 200 dots to the inch print it in 3
)

// code draws digits, an even number of them, as bars from x on.
func (p *page) code(x, y, height float64, digits string) {
	p.artifact()
	p.grid(x, y+height, barsModule, height)
	check := startC
	at := p.symbol(0, code128[6*startC:6*startC+6])
	for i := 0; i+1 < len(digits); i += 2 {
		n := int(digits[i]-'0')*10 + int(digits[i+1]-'0')
		check += n * (i/2 + 1)
		at = p.symbol(at, code128[6*n:6*n+6])
	}
	check %= 103
	at = p.symbol(at, code128[6*check:6*check+6])
	p.symbol(at, barsStop)
	p.ops = append(p.ops, "f Q\n"...)
}

// symbol draws one symbol from a module on, and returns the next's.
func (p *page) symbol(at int, widths string) int {
	for i := range len(widths) {
		w := int(widths[i] - '0')
		if i%2 == 0 {
			p.cell(float64(at), 0, float64(w), 1)
		}
		at += w
	}
	return at
}
