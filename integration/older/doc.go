// Package older holds what older versions wrote against what this one says of it.
package older
