# Cuts the fonts of the statements, once, by hand; the result is committed.
#
#   apt-get install python3-fonttools fonts-liberation2 fonts-ocr-b
#   python3 cut.py
#
# A font of a PDF that gofpdf makes has 256 characters. So Liberation Sans is cut
# into planes: plane 0 is Windows-1252, and the letters of planes.txt, a line a
# plane, have the codes from 33 on in the planes that follow. OCR-B keeps its
# digits; its outlines become TrueType's, and its pitch ten to the inch at 10 pt.
import os, subprocess, tempfile
from fontTools import agl, subset
from fontTools.pens.cu2quPen import Cu2QuPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.fontBuilder import FontBuilder
from fontTools.ttLib import TTFont

LIBERATION = '/usr/share/fonts/truetype/liberation2/LiberationSans-%s.ttf'
OCRB = '/usr/share/fonts/opentype/ocr-b/OCRB.otf'
NOTICE = {0: 'Digitized data copyright (c) 2010 Google Corporation. Copyright (c) 2012 Red Hat, Inc. Cut from Liberation Sans.',
          13: 'Licensed under the SIL Open Font License, Version 1.1', 14: 'http://scripts.sil.org/OFL'}

def winansi():
    return {c: ord(bytes([c]).decode('cp1252')) for c in range(32, 256) if c not in (0x7f, 0x81, 0x8d, 0x8f, 0x90, 0x9d)}

def planes():
    has = set(TTFont(LIBERATION % 'Regular').getBestCmap()) & set(TTFont(LIBERATION % 'Bold').getBestCmap())
    done = set(winansi().values())
    def take(*ranges):
        found = [u for a, b in ranges for u in range(a, b + 1) if u in has and u not in done]
        done.update(found)
        assert len(found) <= 223
        return found
    return [sorted(winansi().values()),
            take((0x100, 0x17f), (0x1a0, 0x1a1), (0x1af, 0x1b0), (0x218, 0x21b), (0x1ea0, 0x1ef9)),  # most of Europe, Vietnam
            take((0x180, 0x24f)),                     # the rest of Latin Extended-B
            take((0x1e00, 0x1eff), (0x2c60, 0x2c7f)),  # of Additional and C
            take((0x386, 0x3ce), (0x400, 0x45f))]      # Greek and Cyrillic

def rename(font, name):
    table = font['name']
    table.names = []
    for i, text in {**NOTICE, 1: name, 2: 'Regular', 3: name, 4: name, 6: name}.items():
        table.setName(text, i, 3, 1, 0x409)

def make(font, name, codes, folder):
    """Hands a font to gofpdf's makefont, with the encoding it is to have."""
    ttf, enc = os.path.join(folder, name + '.ttf'), os.path.join(folder, name + '.map')
    font.save(ttf)
    with open(enc, 'w') as out:
        for code in range(256):
            u = codes.get(code)
            if u is None:
                out.write('!%02X U+0000 .notdef\n' % code)
            else:
                out.write('!%02X U+%04X %s\n' % (code, u, agl.UV2AGL.get(u, 'uni%04X' % u)))
    # makefont compares with cp1252.map beside the encoding
    gofpdf = subprocess.check_output(['go', 'list', '-m', '-f', '{{.Dir}}', 'github.com/jung-kurt/gofpdf'], text=True).strip()
    with open(os.path.join(gofpdf, 'font', 'cp1252.map')) as src, open(os.path.join(folder, 'cp1252.map'), 'w') as dst:
        dst.write(src.read())
    subprocess.check_call(['go', 'run', 'github.com/jung-kurt/gofpdf/makefont', '--embed', '--enc=' + enc, '--dst=.', ttf])

def cut(style, plane, runes, folder):
    options = subset.Options(layout_features=[], hinting=False, glyph_names=True, notdef_outline=True, recalc_bounds=True)
    options.drop_tables += ['GDEF', 'GPOS', 'GSUB', 'kern', 'FFTM', 'gasp', 'meta']
    font = subset.load_font(LIBERATION % style, options)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=runes)
    cutter.subset(font)
    name = 'billcycle-%s-%d' % (style.lower(), plane)
    rename(font, name)
    make(font, name, winansi() if plane == 0 else {32: 32, **{33 + i: u for i, u in enumerate(runes)}}, folder)

def digits(folder):
    src = TTFont(OCRB)
    glyphs, cmap = src.getGlyphSet(), src.getBestCmap()
    shapes, metrics, names = {}, {}, ['.notdef', 'space'] + [cmap[ord(d)] for d in '0123456789']
    for name in names:
        pen = TTGlyphPen(None)
        if name not in ('.notdef', 'space'):
            glyphs[name].draw(Cu2QuPen(pen, 0.6, reverse_direction=True))
        shapes[name] = pen.glyph()
        metrics[name] = (720, 0)
    build = FontBuilder(1000, isTTF=True)
    build.setupGlyphOrder(names)
    build.setupCharacterMap({32: 'space', **{ord(d): cmap[ord(d)] for d in '0123456789'}})
    build.setupGlyf(shapes)
    glyf = build.font['glyf']
    build.setupHorizontalMetrics({n: (720, getattr(glyf[n], 'xMin', 0)) for n in names})
    build.setupHorizontalHeader(ascent=800, descent=-200)
    build.setupNameTable({'familyName': 'billcycle-ocrb', 'styleName': 'Regular', 'psName': 'billcycle-ocrb', 'copyright': 'OCR-B by Norbert Schwarz and Matthew Skala; free to use, modify and distribute.'})
    build.setupOS2(sTypoAscender=800, sTypoDescender=-200, sCapHeight=773, fsType=0)
    build.setupPost(isFixedPitch=1)
    make(build.font, 'billcycle-ocrb', winansi(), folder) # all the other widths are a digit's

with tempfile.TemporaryDirectory() as folder:
    all = planes()
    with open('planes.txt', 'w') as out:
        for runes in all[1:]:
            out.write(''.join(map(chr, runes)) + '\n')
    for style in ('Regular', 'Bold'):
        for plane, runes in enumerate(all):
            cut(style, plane, runes, folder)
    digits(folder)
