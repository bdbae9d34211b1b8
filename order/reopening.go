package order

import "time"

// Reopening is for how long the first units that come back to a sold-out SKU are
// kept, by the Store's clock: the first booking after a cancel or an expiry may take
// that much longer. Meanwhile other processes may still say from memory that it is sold
// out, and deny no order that is there. After that the SKU is sold as any other, until
// it is sold out again.
const Reopening = 50 * time.Millisecond
