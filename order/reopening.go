package order

import "time"

// Reopening is for how long units that came back to a SKU that was sold out are
// kept: no new order takes them before, by the Store's clock. So whoever was told
// that it is sold out may say so for as long, and no order that is committed
// meanwhile is denied. They are kept only once, from when the first of them came
// back; after that the SKU is sold as any other, until it is sold out again.
const Reopening = 50 * time.Millisecond
