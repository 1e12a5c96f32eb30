package billing

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/billcycle/billcycle/calendar"
)

// How a policy file is read: key by key into the types of policy.go, so that
// whatever is wrong can be named by its full path. Sections need no code here.

// PolicyError is a key of a policy that can't be used.
type PolicyError struct {
	Path string // late_fee.kind
	Says string
}

func (e *PolicyError) Error() string { return fmt.Sprintf("policy: %s: %s", e.Path, e.Says) }

// LoadPolicy reads a policy file over the defaults; "" is the defaults.
func LoadPolicy(path string) (Policy, error) {
	if path == "" {
		return DefaultPolicy(), nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Policy{}, &PolicyError{path, err.Error()}
	}
	if len(bytes.TrimSpace(b)) == 0 { // a copy that was cut short: its biller did not mean the defaults
		return Policy{}, &PolicyError{"(top)", "the file is empty; for a policy without changes write {}"}
	}
	p, err := ParsePolicy(b)
	if err == nil && p.Biller.Logo != "" {
		err = p.Biller.readLogo(filepath.Dir(path))
	}
	return p, err
}

const maxLogoBytes = 256 << 10 // it stands in every statement's file

// readLogo reads the logo's file, its path from the policy's folder.
func (b *Biller) readLogo(folder string) error {
	path := b.Logo
	if !filepath.IsAbs(path) {
		path = filepath.Join(folder, path)
	}
	image, err := os.ReadFile(path)
	if err != nil {
		return &PolicyError{"biller.logo", err.Error()}
	}
	if kind := http.DetectContentType(image); kind != "image/png" && kind != "image/jpeg" {
		return &PolicyError{"biller.logo", fmt.Sprintf("%s is no PNG or JPEG, but %s", path, kind)}
	}
	if len(image) > maxLogoBytes {
		return &PolicyError{"biller.logo", fmt.Sprintf("%s has %d bytes; at most %d keep statements small", path, len(image), maxLogoBytes)}
	}
	b.LogoImage = image
	return nil
}

// ParsePolicy reads overrides over the defaults. An unknown key, a wrong type
// or an impossible value is a *PolicyError that names its path.
func ParsePolicy(overrides []byte) (Policy, error) {
	overrides = bytes.TrimSpace(overrides)
	if len(overrides) == 0 {
		return DefaultPolicy(), nil
	}
	keys, err := object("", overrides)
	if err != nil {
		return Policy{}, err
	}
	later, isDated := keys["policies"]
	delete(keys, "policies")
	p := DefaultPolicy()
	if err := fill("", keys, reflect.ValueOf(&p).Elem()); err != nil {
		return Policy{}, err
	}
	if err := p.check(); err != nil {
		return Policy{}, err
	}
	if isDated {
		if p.dated, err = parseDated(keys, later); err != nil {
			return Policy{}, err
		}
	}
	return p, nil
}

// strict decodes JSON into v key by key, so that an error can name its path;
// encoding/json alone can't.
func strict(path string, raw json.RawMessage, v reflect.Value) error {
	if v.Kind() == reflect.Struct || v.Kind() == reflect.Map {
		keys, err := object(path, raw)
		if err != nil {
			return err
		}
		return fill(path, keys, v)
	}
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct {
		return strictList(path, raw, v)
	}
	if v.Kind() == reflect.Array {
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil || len(list) != v.Len() {
			return &PolicyError{path, fmt.Sprintf("%s can't be used here: want %s", compact(raw), wanted(v.Type()))}
		}
	}
	if string(raw) == "null" && v.Kind() != reflect.Pointer || json.Unmarshal(raw, v.Addr().Interface()) != nil {
		return &PolicyError{path, fmt.Sprintf("%s can't be used here: want %s", compact(raw), wanted(v.Type()))}
	}
	return nil
}

func strictList(path string, raw json.RawMessage, v reflect.Value) error {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil || list == nil {
		return &PolicyError{path, fmt.Sprintf("%s can't be used here: want a list [{...}]", compact(raw))}
	}
	v.Set(reflect.MakeSlice(v.Type(), len(list), len(list)))
	for n, element := range list {
		if err := strict(fmt.Sprintf("%s[%d]", path, n), element, v.Index(n)); err != nil {
			return err
		}
	}
	return nil
}

// fill gives the keys of an object to the fields of a struct, or to a map, in
// which those that are not given stay.
func fill(path string, keys map[string]json.RawMessage, v reflect.Value) error {
	if v.Kind() == reflect.Map {
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		for _, name := range slices.Sorted(maps.Keys(keys)) {
			value := reflect.New(v.Type().Elem()).Elem()
			if err := strict(join(path, name), keys[name], value); err != nil {
				return err
			}
			v.SetMapIndex(reflect.ValueOf(name), value)
		}
		return nil
	}
	var known []string
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("json")
		if name == "" || name == "-" {
			continue
		}
		known = append(known, name)
		if raw, given := keys[name]; given {
			if err := strict(join(path, name), raw, v.Field(i)); err != nil {
				return err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		if !slices.Contains(known, name) {
			if path == "" {
				known = append(known, "policies")
			}
			return &PolicyError{join(path, name), "no such key; there are " + strings.Join(known, ", ")}
		}
	}
	return nil
}

// object reads the keys of a JSON object. A key given twice is refused: one of
// the two was not meant.
func object(path string, raw json.RawMessage) (map[string]json.RawMessage, error) {
	wrong := &PolicyError{orTop(path), "want an object {...}, found " + compact(raw)}
	d := json.NewDecoder(bytes.NewReader(raw))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, wrong
	}
	keys := map[string]json.RawMessage{}
	for d.More() {
		token, err := d.Token()
		name, isName := token.(string)
		if err != nil || !isName {
			return nil, wrong
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, &PolicyError{join(path, name), "its value is not JSON: " + err.Error()}
		}
		if _, twice := keys[name]; twice {
			return nil, &PolicyError{join(path, name), "it is given twice"}
		}
		keys[name] = value
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return nil, wrong
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, &PolicyError{orTop(path), "there is something after its last brace"}
	}
	return keys, nil
}

func join(path, name string) string { return strings.TrimPrefix(path+"."+name, ".") }

func orTop(path string) string {
	if path == "" {
		return "(top)"
	}
	return path
}

func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return "something that is not JSON"
	}
	if b.Len() > 60 {
		return b.String()[:60] + "..."
	}
	return b.String()
}

func wanted(t reflect.Type) string {
	if t == reflect.TypeFor[calendar.Date]() {
		return "a date such as 2026-07-01"
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Array:
		return fmt.Sprintf("a list of %d, each %s", t.Len(), wanted(t.Elem()))
	case reflect.Slice:
		return "a list, each of it " + wanted(t.Elem())
	case reflect.Pointer:
		return wanted(t.Elem()) + " or null"
	}
	return t.String()
}
