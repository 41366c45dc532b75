//! Enums whose values have names.

/// Makes an enum whose values have names, so that no value can lack one.
macro_rules! named {
    ($(#[doc = $about:literal])+ $Enum:ident { $($(#[doc = $doc:literal])+ $value:ident = $name:literal,)+ }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $Enum {
            $($(#[doc = $doc])+ $value,)+
        }

        impl $Enum {
            /// All of them.
            pub const ALL: &[$Enum] = &[$($Enum::$value),+];

            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($Enum::$value => $name,)+
                }
            }
        }
    };
}
pub(super) use named;
