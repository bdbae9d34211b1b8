package order

// checkRetired is the SKUError of an item that was retired, or that is new and draws on
// a SKU that was. The SKUs that are there are those of known.
func checkRetired(items []Item, retired func(sku string) bool, known map[string][]Line) error {
	for _, item := range items {
		if retired(item.SKU) {
			return &SKUError{item.SKU, ErrRetired}
		}
		if _, there := known[item.SKU]; there {
			continue
		}
		for _, draw := range item.Draws {
			if retired(draw.SKU) {
				return &SKUError{draw.SKU, ErrRetired}
			}
		}
	}
	return nil
}
