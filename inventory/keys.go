package inventory

import "strings"

// DefaultKeyPrefix begins every key in Redis unless WithKeyPrefix changes it.
const DefaultKeyPrefix = "lastunit"

// keys builds every key that this package uses in Redis. All keys of a SKU
// carry the SKU as their hash tag, so that they share a slot of a cluster.
type keys struct{ prefix string }

// begin is what every key begins with.
func (k keys) begin() string { return k.prefix + ":" }

// canary is the key of the canary of that name.
func (k keys) canary(name string) string { return k.begin() + "{" + name + "}:canary" }

// stock is the key of the SKU's counters and unsettled deductions.
func (k keys) stock(sku string) string {
	return k.begin() + "{" + tag.Replace(sku) + "}:stock"
}

// tag spells out the braces, which would end a hash tag early or begin another,
// and the sign that spells them, so that two SKUs never share a key.
var tag = strings.NewReplacer("%", "%25", "{", "%7B", "}", "%7D")
